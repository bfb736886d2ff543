/**
 * Router: which route a path belongs to. Paths are cut at slashes before they are decoded, so an encoded slash is part of a value: `/topics/a%2Fb`.
 */
import type { Method, Route } from './route.ts';

interface Node {
  readonly fixed: Map<string, Node>;
  /** Any one level. */
  any: Node | null;
  /** Takes the rest of the path. */
  readonly rest: Map<Method, Entry>;
  readonly routes: Map<Method, Entry>;
}

export interface Entry {
  readonly route: Route;
  /** Names of the values in the path, in order. */
  readonly names: readonly string[];
}

export interface Found {
  readonly entry: Entry;
  readonly params: Readonly<Record<string, string>>;
}

const NO_VALUES: string[] = [];

export class Router {
  private readonly root: Node;

  /** @throws when two routes have the same place */
  constructor(routes: readonly Route[]) {
    this.root = newNode();
    for (const route of routes) this.add(route);
  }

  private add(route: Route): void {
    let node = this.root;
    const names: string[] = [];
    let table = 'routes' as 'routes' | 'rest';
    for (const level of route.path.slice(1).split('/')) {
      const name = /^\{(\w+)(\.\.\.)?\}$/.exec(level);
      if (name === null) {
        let next = node.fixed.get(level);
        if (next === undefined) {
          next = newNode();
          node.fixed.set(level, next);
        }
        node = next;
        continue;
      }
      names.push(name[1]!);
      if (name[2] !== undefined) table = 'rest';
      else node = node.any ??= newNode();
    }
    if (node[table].has(route.method)) throw new Error(`two routes serve ${route.method} ${route.path}`);
    node[table].set(route.method, { route, names });
  }

  /**
   * @param path as it was sent, without the query
   * @returns the route and the values in its path; the methods that the path has, where it has not this one; or null: there is no such path
   */
  find(method: string, path: string): Found | readonly Method[] | null {
    let node = this.root;
    let values: string[] = NO_VALUES;
    let rest: { readonly node: Node; readonly values: readonly string[] } | null = null;
    let isWhole = true;
    for (let at = 1; ; ) {
      if (node.rest.size > 0) rest = { node, values: [...values, path.slice(at)] };
      const slash = path.indexOf('/', at);
      const level = path.slice(at, slash < 0 ? path.length : slash);
      const next = node.fixed.get(level);
      if (next !== undefined) node = next;
      else if (node.any !== null && level !== '') {
        node = node.any;
        values = [...values, level];
      } else {
        isWhole = false;
        break;
      }
      if (slash < 0) break;
      at = slash + 1;
    }
    const table = isWhole && node.routes.size > 0 ? node.routes : (rest?.node.rest ?? null);
    if (table === null) return null;
    const entry = table.get(method as Method);
    if (entry === undefined) return [...table.keys()];
    const found = table === node.routes ? values : rest!.values;
    const params: Record<string, string> = {};
    for (const [place, name] of entry.names.entries()) {
      const value = decoded(found[place]!);
      if (value === null) return null;
      params[name] = value;
    }
    return { entry, params };
  }
}

function newNode(): Node {
  return { fixed: new Map(), any: null, rest: new Map(), routes: new Map() };
}

/** Null where it is no valid encoding. */
function decoded(text: string): string | null {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
