// The page: which part is shown, and who tells whom.

import { byId } from "./dom.js";
import { Jobs } from "./jobs.js";
import { Live } from "./live.js";
import { startSession } from "./session.js";
import { Submit } from "./submit.js";
import { startTheme } from "./theme.js";

startTheme();
const session = startSession();
const live = new Live(session);
const watch = (stream: string) => {
  live.watch(stream);
  byId("stream", HTMLElement).scrollIntoView({ block: "nearest" });
};
const jobs = new Jobs(session, byId("jobs", HTMLDivElement), (all) => live.offer(all), watch);
const submit = new Submit(session, byId("page-submit", HTMLElement), () => {
  location.hash = "#live";
  void jobs.poll();
});

function show(): void {
  const [page, stream] = location.hash.slice(1).split("/");
  const submitting = page === "submit";
  byId("page-live", HTMLElement).hidden = submitting;
  byId("page-submit", HTMLElement).hidden = !submitting;
  for (const link of document.querySelectorAll<HTMLAnchorElement>("nav a")) {
    const here = link.hash === (submitting ? "#submit" : "#live");
    if (here) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
  if (submitting) {
    submit.shown();
  } else if (stream !== undefined && stream !== "") {
    live.watch(decodeURIComponent(stream));
  }
}

addEventListener("hashchange", show);
show();
void jobs.poll();
