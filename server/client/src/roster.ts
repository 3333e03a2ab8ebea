// Which subscriptions there are, under which id each was last asked for, and which channel carries
// it. Ids and channels live as long as a connection, subscriptions longer.

import type { Member } from "./subscription.js";

export class Roster {
  readonly #all = new Set<Member>();
  readonly #byId = new Map<string, Member>();
  readonly #ids = new Map<Member, string>();
  readonly #channels = new Map<number, Set<Member>>();
  #lastId = 0;

  add(member: Member): void {
    this.#all.add(member);
  }

  /** Forgets a subscription for good. */
  remove(member: Member): void {
    this.release(member);
    this.#all.delete(member);
  }

  /** All of them; may be changed meanwhile. */
  all(): Member[] {
    return [...this.#all];
  }

  /** A new id for a subscription that is asked for. */
  claim(member: Member): string {
    this.#lastId += 1;
    const id = String(this.#lastId);
    this.#byId.set(id, member);
    this.#ids.set(member, id);
    return id;
  }

  /** Gives up a subscription's id and channel. Gives the id it had. */
  release(member: Member): string | undefined {
    const id = this.#ids.get(member);
    if (id !== undefined) {
      this.#ids.delete(member);
      this.#byId.delete(id);
    }
    for (const [channel, members] of this.#channels) {
      if (members.delete(member) && members.size === 0) {
        this.#channels.delete(channel);
      }
    }
    return id;
  }

  /** Who asked under this id, unless that is over. */
  find(id: string): Member | undefined {
    return this.#byId.get(id);
  }

  join(channel: number, member: Member): void {
    const members = this.#channels.get(channel) ?? new Set();
    this.#channels.set(channel, members.add(member));
  }

  /** Who follows a channel; may be changed meanwhile. */
  on(channel: number): Member[] {
    return [...(this.#channels.get(channel) ?? [])];
  }

  /** The connection is lost: ids and channels mean nothing any more. */
  disconnect(): void {
    this.#byId.clear();
    this.#ids.clear();
    this.#channels.clear();
  }
}
