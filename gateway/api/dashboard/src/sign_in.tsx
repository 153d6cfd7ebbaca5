import { useEffect, useState } from 'preact/hooks';
import { Api, ApiError } from './api.ts';
import { useAction } from './app.tsx';
import { useTongue } from './i18n/index.tsx';
import { Preferences } from './preferences.tsx';
import type { SignedIn, Who } from './session.ts';
import { Button, Card, Fault, Field, Notice } from './ui/index.tsx';

const ADMIN_PREFIX = 'ponte_admin_';

/** Asks for a key and tries it: whose it is shows in what it may read. */
export function SignIn({ refused, onSignIn }: { refused: boolean; onSignIn: (signedIn: SignedIn) => void }) {
  const { t } = useTongue();
  const [key, setKey] = useState('');
  const [wrong, setWrong] = useState(false);
  useEffect(() => {
    document.title = `${t('signin.title')} · Ponte`;
  }, [t]);
  const action = useAction(async () => {
    setWrong(false);
    const given = key.trim();
    try {
      onSignIn({ key: given, who: await whose(given) });
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      setWrong(true);
    }
  });
  return (
    <main class="signin">
      <h1>Ponte</h1>
      <p>{t('signin.lead')}</p>
      {refused && <Notice mood="bad">{t('signin.refused')}</Notice>}
      <Card title={t('signin.title')}>
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void action.run();
          }}
        >
          <Field
            label={t('signin.key')}
            hint={t('signin.hint')}
            type="password"
            name="key"
            autoComplete="current-password"
            spellcheck={false}
            required
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
          />
          {wrong && <Notice mood="bad">{t('signin.wrong')}</Notice>}
          <Fault error={action.error} />
          <Button kind="main" type="submit" busy={action.busy}>
            {t('signin.go')}
          </Button>
        </form>
      </Card>
      <Preferences />
    </main>
  );
}

async function whose(key: string): Promise<Who> {
  const api = new Api(key);
  if (key.startsWith(ADMIN_PREFIX)) {
    await api.get('/accounts');
    return 'admin';
  }
  try {
    await api.get('/call/bridge/status');
    return 'account';
  } catch (error) {
    // An operator may have chosen an admin key of another shape.
    if (!(error instanceof ApiError) || error.status !== 401) throw error;
    await api.get('/accounts');
    return 'admin';
  }
}
