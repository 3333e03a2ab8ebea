// Questions: a confirmation, and the API key.

import { element } from "./dom.js";

/** Asks; gives the value of the button that was chosen, `undefined` where none was. */
export function ask(
  title: string,
  text: string,
  choices: { value: string; label: string; danger?: boolean }[],
): Promise<string | undefined> {
  const buttons = choices.map(({ value, label, danger }) =>
    element("button", { type: "submit", value, className: danger === true ? "danger" : "" }, label),
  );
  const cancel = element("button", { type: "submit", value: "", className: "quiet" }, "Cancel");
  return open(title, [element("p", {}, text)], [cancel, ...buttons]);
}

/** Asks for an API key. */
export async function askKey(reason: string): Promise<string | undefined> {
  const input = element("input", {
    type: "password",
    autocomplete: "off",
    attributes: { "aria-label": "API key" },
  });
  const cancel = element("button", { type: "submit", value: "", className: "quiet" }, "Cancel");
  const use = element("button", { type: "submit", value: "use" }, "Use this key");
  const help = "Keys are made with `millstream keys create`. It is kept for this tab only.";
  const body = [element("p", {}, reason), input, element("p", { className: "muted" }, help)];
  const chosen = await open("API key", body, [cancel, use], use);
  return chosen === "use" ? input.value.trim() : undefined;
}

let titles = 0;

function open(
  title: string,
  body: Node[],
  buttons: HTMLButtonElement[],
  usual?: HTMLButtonElement,
): Promise<string | undefined> {
  titles += 1;
  const id = `dialog-${titles}`;
  const row = element("div", { className: "buttons" }, ...buttons);
  const form = element("form", { method: "dialog" }, element("h2", { id }, title), ...body, row);
  const dialog = element("dialog", { attributes: { "aria-labelledby": id } }, form);
  if (usual !== undefined) {
    // Enter means the first submit button, which is not the one that is meant.
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target instanceof HTMLInputElement) {
        event.preventDefault();
        usual.click();
      }
    });
  }
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "" ? undefined : dialog.returnValue);
    });
  });
}
