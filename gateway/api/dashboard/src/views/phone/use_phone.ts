import { useEffect, useState } from 'preact/hooks';
import { useApp } from '../../app.tsx';
import { OFF, type PhoneState } from './state.ts';

/** The softphone's state, as it changes. */
export function usePhone(): PhoneState {
  const { phone } = useApp();
  const [state, setState] = useState(phone?.state ?? OFF);
  useEffect(() => {
    setState(phone?.state ?? OFF);
    return phone?.subscribe(setState);
  }, [phone]);
  return state;
}
