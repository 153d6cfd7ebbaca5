import type { Ending } from '../api.gen.ts';
import { useTongue } from '../i18n/index.tsx';
import { Told } from '../ui/index.tsx';
import { reasonKey } from './words.ts';

/** Why a call ended, in words where we have them. */
export function End({ ending }: { ending: Ending }) {
  const { t } = useTongue();
  const key = reasonKey(ending.reason);
  return (
    <>
      {key === null ? <Told>{ending.reason}</Told> : t(key)}
      {ending.sip_status !== null && ` (SIP ${ending.sip_status})`}
    </>
  );
}
