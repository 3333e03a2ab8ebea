// Elements, made in one expression.

type Properties<E> = Partial<Omit<E, "style" | "dataset" | "attributes">> & {
  attributes?: Record<string, string>;
};

/** Makes an element with properties, attributes and children. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  properties: Properties<HTMLElementTagNameMap[Tag]> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[Tag] {
  const { attributes, ...rest } = properties;
  const made = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** An element of the page that is always there. */
export function byId<E extends HTMLElement>(id: string, type: new () => E): E {
  const found = document.getElementById(id);
  if (!(found instanceof type)) {
    throw new Error(`the page has no ${type.name} "${id}"`);
  }
  return found;
}

/** Writes a text only where it changes: a write costs layout. */
export function write(node: Node, text: string): boolean {
  if (node.textContent === text) {
    return false;
  }
  node.textContent = text;
  return true;
}
