import './app.css';
import { render } from 'preact';
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { Api } from './api.ts';
import { AppContext } from './app.tsx';
import { EventStream } from './events.ts';
import { Speaking } from './i18n/index.tsx';
import { Layout } from './layout.tsx';
import { type SignedIn, load, store } from './session.ts';
import { SignIn } from './sign_in.tsx';
import { applyTheme, storedTheme } from './theme.ts';
import { PhoneDesk } from './views/phone/desk.ts';

function Root() {
  const [signedIn, setSignedIn] = useState(load);
  const [refused, setRefused] = useState(false);
  const become = useCallback((now: SignedIn | null, why: 'chosen' | 'refused') => {
    store(now);
    setRefused(why === 'refused');
    setSignedIn(now);
  }, []);
  const app = useMemo(() => {
    if (!signedIn) return null;
    const api = new Api(signedIn.key, () => become(null, 'refused'));
    const events = signedIn.who === 'account' ? new EventStream(api) : null;
    const phone = signedIn.who === 'account' ? new PhoneDesk() : null;
    return { api, events, phone, who: signedIn.who, signOut: () => become(null, 'chosen') };
  }, [signedIn]);
  useEffect(() => {
    app?.events?.start();
    return () => {
      app?.events?.close();
      app?.phone?.close();
    };
  }, [app]);
  if (!app) return <SignIn refused={refused} onSignIn={(now) => become(now, 'chosen')} />;
  return (
    <AppContext.Provider value={app}>
      <Layout />
    </AppContext.Provider>
  );
}

applyTheme(storedTheme());
const root = document.getElementById('app');
if (root) {
  render(
    <Speaking>
      <Root />
    </Speaking>,
    root,
  );
}
