// The server behind this page: REST and the live connection, with one API key for both.

import { connect, RequestError, Rest, type Connection } from "@millstream/client";
import { askKey } from "./dialogs.js";
import { byId, write } from "./dom.js";

const KEY = "millstream.key";
/** The server's address: this page's folder, so that a prefix of a proxy is kept. */
const url = new URL(".", location.href).href;

/** Whether the question stands, or was declined: who declined is not asked again and again. */
let asked = false;

/** Asks for a key, and begins anew with it. Nothing typed is lost: the editor keeps its draft. */
async function enterKey(reason: string): Promise<void> {
  if (asked) {
    return;
  }
  asked = true;
  const key = await askKey(reason);
  if (key === undefined) {
    return;
  }
  if (key === "") {
    sessionStorage.removeItem(KEY);
  } else {
    sessionStorage.setItem(KEY, key);
  }
  location.reload();
}

export interface Session {
  rest: Rest;
  connection: Connection;
}

export function startSession(): Session {
  const key = sessionStorage.getItem(KEY);
  const rest = new Rest({ url, ...(key === null ? {} : { token: key }) });
  const line = byId("line", HTMLParagraphElement);
  const show = (state: string, text: string) => {
    line.dataset.state = state;
    write(line, text);
  };
  show("connecting", "connecting");
  const connection = connect({
    url,
    // A browser sends no headers with a WebSocket; a ticket is good for one connection.
    ...(key === null ? {} : { ticket: async () => (await rest.ticket()).ticket }),
    onState(state, wait) {
      const seconds = Math.ceil((wait ?? 0) / 1000);
      show(state, state === "open" ? "live" : state === "waiting" ? `again in ${seconds} s` : state);
    },
    onError(error) {
      const refused = error instanceof RequestError && error.status === 401;
      if (refused || connection.state === "closed") {
        void enterKey(`The server refused: ${error.message}.`);
      }
    },
  });
  byId("key", HTMLButtonElement).addEventListener("click", () => {
    asked = false;
    void enterKey(key === null ? "No key is in use." : "A key is in use; an empty one forgets it.");
  });
  return { rest, connection };
}

/** Shows what went wrong, or asks for a key where that is what is missing. */
export function report(error: unknown, from: "poll" | "action"): void {
  if (error instanceof RequestError) {
    if (error.status === 401) {
      void enterKey(`The server asks for an API key: ${error.message}.`);
    }
    banner(error.message, from);
  } else {
    banner("The server does not answer. This page tries again by itself.", from);
  }
}

/** All is well again: takes away what was shown from there. */
export function settled(from: "poll" | "action"): void {
  const place = byId("banner", HTMLParagraphElement);
  if (place.dataset.from === from) {
    place.hidden = true;
  }
}

function banner(text: string, from: string): void {
  const place = byId("banner", HTMLParagraphElement);
  place.dataset.from = from;
  place.hidden = false;
  write(place, text);
}
