/**
 * The application: the login, or the menu with the page that the address names.
 */
import type { VNode } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { ask } from './api.ts';
import { zone } from './format.ts';
import { KeysHelp, showKeys, useKeys } from './keys.tsx';
import { MENU, type MenuEntry } from './menu.ts';
import { LoginPage } from './pages/login.tsx';
import { Questions } from './parts/dialog.tsx';
import { Notices } from './parts/notices.tsx';
import { place, placeOf } from './place.ts';
import { authorization, logOut, type Me, mayAs, me } from './session.ts';
import { switchTheme, theme } from './theme.ts';

const GROUPS = ['Now', 'Who may do what', 'Broker'] as const;

export function App(): VNode {
  return (
    <>
      {authorization.value === null ? <LoginPage /> : <Inside />}
      <Questions />
      <Notices />
    </>
  );
}

/** After a reload the credentials are there, and their owner is asked for again. */
function Inside(): VNode {
  const [failure, setFailure] = useState('');
  useEffect(() => {
    if (me.value === null)
      ask<Me>('GET', '/api/v1/me').then(
        (owner) => {
          me.value = owner;
        },
        (error: Error) => setFailure(error.message),
      );
  }, []);
  if (me.value !== null) return <Shell owner={me.value} />;
  return (
    <main class="login" aria-busy={failure === ''}>
      {failure !== '' && (
        <>
          <p role="alert">{failure}</p>
          <button type="button" onClick={() => location.reload()}>
            Try again
          </button>
          <button type="button" class="secondary" onClick={() => logOut()}>
            Log out
          </button>
        </>
      )}
    </main>
  );
}

function Shell({ owner }: { readonly owner: Me }): VNode {
  useKeys();
  const [isOpen, setOpen] = useState(false);
  const allowed = MENU.filter(({ role }) => mayAs(role));
  const here = place.value;
  const entry = allowed.find(({ name }) => name === here.levels[0]) ?? allowed[0]!;
  const menuButton = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => {
    if (!isOpen) return;
    const onKey = (event: KeyboardEvent): void => {
      if (event.key !== 'Escape') return;
      setOpen(false);
      menuButton.current?.focus();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, [isOpen]);
  useEffect(() => {
    document.title = `${entry.title} · ${owner.node} · onehop console`;
  }, [entry, owner.node]);
  const isFirst = useRef(true);
  useEffect(() => {
    // Whoever follows a link by keyboard or hears the page goes on at its beginning; when the application begins, that is the menu.
    if (isFirst.current) {
      isFirst.current = false;
      return;
    }
    document.getElementById('main')?.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [entry, here.levels.join('/')]);
  const Page = entry.page;
  return (
    <>
      <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
        Skip to the content
      </button>
      <header class="top">
        <a class="brand" href={placeOf([allowed[0]!.name])}>
          onehop
        </a>
        <span class="node" title={`version ${owner.version}`}>
          {owner.node}
        </span>
        <span class="owner">
          {owner.name} <span class="badge">{owner.role}</span>
        </span>
        <button
          ref={menuButton}
          type="button"
          class="plain menu-button"
          aria-expanded={isOpen}
          aria-controls="menu"
          onClick={() => setOpen(!isOpen)}
        >
          Menu
        </button>
        <button type="button" class="plain" aria-label={`Theme: ${theme.value}. Switch`} onClick={switchTheme}>
          {theme.value === 'dark' ? '☾' : theme.value === 'light' ? '☀' : '◐'}
        </button>
        <button type="button" class="plain wide" aria-label="Keys" onClick={showKeys}>
          ?
        </button>
        <button type="button" class="plain" onClick={() => logOut()}>
          Log out
        </button>
      </header>
      <div class="body">
        <Menu allowed={allowed} current={entry} isOpen={isOpen} close={() => setOpen(false)} />
        <main id="main" tabIndex={-1}>
          <Page place={here} />
        </main>
      </div>
      <KeysHelp />
    </>
  );
}

interface MenuFacts {
  readonly allowed: readonly MenuEntry[];
  readonly current: MenuEntry;
  readonly isOpen: boolean;
  readonly close: () => void;
}

function Menu({ allowed, current, isOpen, close }: MenuFacts): VNode {
  return (
    <nav id="menu" class={isOpen ? 'menu open' : 'menu'} aria-label="Pages">
      {GROUPS.map((group) => {
        const entries = allowed.filter((entry) => entry.group === group);
        if (entries.length === 0) return null;
        return (
          <section key={group} aria-label={group}>
            <p class="group">{group}</p>
            <ul>
              {entries.map((entry) => (
                <li key={entry.name}>
                  <a href={placeOf([entry.name])} onClick={close} aria-current={entry === current ? 'page' : undefined}>
                    {entry.title}
                  </a>
                </li>
              ))}
            </ul>
          </section>
        );
      })}
      <p class="group">Times are those of {zone()}.</p>
    </nav>
  );
}
