import { useEffect, useRef, useState } from 'preact/hooks';
import { type View, useApp, useStreamState } from './app.tsx';
import { useTongue } from './i18n/index.tsx';
import { Preferences } from './preferences.tsx';
import { href, match, usePlace } from './router.ts';
import { Badge, Button, Title } from './ui/index.tsx';
import { PhoneBar } from './views/phone/bar.tsx';
import { views } from './views/index.ts';

/** Header, navigation and the view of the present place. */
export function Layout() {
  const { t } = useTongue();
  const { who } = useApp();
  const { path, query } = usePlace();
  const main = useRef<HTMLElement>(null);
  const mine = views.filter((view) => view.who === who);
  const home = mine[0];
  const found = find(mine, path === '/' ? (home?.path ?? '/') : path);
  const title = found ? t(found.view.title) : t('notfound.title');
  const [first, setFirst] = useState(true);
  useEffect(() => {
    document.title = `${title} · Ponte`;
  }, [title]);
  useEffect(() => {
    if (first) setFirst(false);
    else main.current?.querySelector('h1')?.focus();
    scrollTo(0, 0);
  }, [path]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.querySelector('h1')?.focus();
        }}
      >
        {t('skip')}
      </a>
      <Header views={mine} here={found?.view.under ?? found?.view.path ?? ''} />
      <main id="main" ref={main}>
        <PhoneBar />
        {found ? (
          <found.view.component key={found.view.path} parameters={found.parameters} query={query} />
        ) : (
          <>
            <Title>{t('notfound.title')}</Title>
            <p>
              <a href={href(home?.path ?? '/')}>{t('notfound.back')}</a>
            </p>
          </>
        )}
      </main>
    </>
  );
}

function find(views: readonly View[], path: string): { view: View; parameters: Record<string, string> } | null {
  for (const view of views) {
    const parameters = match(view.path, path);
    if (parameters) return { view, parameters };
  }
  return null;
}

function Header({ views, here }: { views: readonly View[]; here: string }) {
  const { t } = useTongue();
  const { signOut } = useApp();
  const [open, setOpen] = useState(false);
  useEffect(() => setOpen(false), [here]);
  return (
    <header class={open ? 'open' : ''}>
      <div class="bar">
        <span class="brand">
          <img src="/assets/icon.svg" alt="" width="24" height="24" />
          Ponte
        </span>
        <Live />
        <button
          type="button"
          class="button menu"
          aria-expanded={open}
          aria-controls="menu"
          onClick={() => setOpen(!open)}
        >
          {t('menu')}
        </button>
      </div>
      <div id="menu" class="menu-body">
        <nav aria-label={t('navigation')}>
          <ul>
            {views
              .filter((view) => view.inNavigation)
              .map((view) => (
                <li key={view.path}>
                  <a href={href(view.path)} {...(view.path === here ? { 'aria-current': 'page' as const } : {})}>
                    {t(view.title)}
                  </a>
                </li>
              ))}
            <li>
              <a href="/docs" target="_blank" rel="noopener">
                {t('nav.api')}
              </a>
            </li>
          </ul>
        </nav>
        <Preferences />
        <Button onClick={signOut}>{t('signout')}</Button>
      </div>
    </header>
  );
}

/** Whether what is shown is live. */
function Live() {
  const { t } = useTongue();
  const { events } = useApp();
  const state = useStreamState();
  if (!events) return null;
  return (
    <span class="live" role="status">
      <Badge mood={state === 'live' ? 'good' : 'waiting'}>{t(state === 'live' ? 'stream.live' : 'stream.waiting')}</Badge>
    </span>
  );
}
