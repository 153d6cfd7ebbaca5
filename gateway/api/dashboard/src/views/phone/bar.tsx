import { useApp } from '../../app.tsx';
import { useTongue } from '../../i18n/index.tsx';
import { href, usePlace } from '../../router.ts';
import { Button, Notice } from '../../ui/index.tsx';
import { usePhone } from './use_phone.ts';

/** The softphone's call while another view is looked at. */
export function PhoneBar() {
  const { t } = useTongue();
  const { phone } = useApp();
  const { path } = usePlace();
  const { call } = usePhone();
  const desk = phone?.phone ?? null;
  if (call === null || desk === null || path === '/phone') return null;
  const incoming = call.stage === 'incoming';
  return (
    <Notice mood="waiting">
      <div class="deeds">
        <span>
          {t(incoming ? 'phone.stage.incoming' : 'phone.stage.other')}: {call.party}
        </span>
        {incoming && (
          <Button kind="main" onClick={() => desk.answer()}>
            {t('phone.answer')}
          </Button>
        )}
        <Button kind="danger" onClick={() => desk.hangup()}>
          {t(incoming ? 'phone.decline' : 'deed.hangup')}
        </Button>
        <a href={href('/phone')}>{t('phone.to')}</a>
      </div>
    </Notice>
  );
}
