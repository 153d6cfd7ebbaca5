import type { PlainKey } from '../../i18n/index.tsx';
import type { Fault } from './rules.ts';

/** What went wrong with the softphone, and what mends it. */
export const FAULT: Readonly<Record<Fault, PlainKey>> = {
  url_missing: 'phone.fault.url_missing',
  url_wrong: 'phone.fault.url_wrong',
  url_plain_from_secure_page: 'phone.fault.url_plain_from_secure_page',
  url_plain_elsewhere: 'phone.fault.url_plain_elsewhere',
  user_missing: 'phone.fault.user_missing',
  number_missing: 'phone.fault.number_missing',
  number_wrong: 'phone.fault.number_wrong',
  page_insecure: 'phone.fault.page_insecure',
  microphone_denied: 'phone.fault.microphone_denied',
  microphone_missing: 'phone.fault.microphone_missing',
  microphone_failed: 'phone.fault.microphone_failed',
  no_connection: 'phone.fault.no_connection',
  wrong_password: 'phone.fault.wrong_password',
  unknown_user: 'phone.fault.unknown_user',
  too_many_phones: 'phone.fault.too_many_phones',
  no_answer_from_server: 'phone.fault.no_answer_from_server',
  refused: 'phone.fault.refused',
  not_found: 'phone.fault.not_found',
  busy: 'phone.fault.busy',
  declined: 'phone.fault.declined',
  unavailable: 'phone.fault.unavailable',
  media: 'phone.fault.media',
  not_loaded: 'phone.fault.not_loaded',
  failed: 'phone.fault.failed',
};
