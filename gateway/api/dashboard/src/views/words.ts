/** Words of calls that several views need: states, ends, parties. */
import type { CallState, Direction, Hop, Party, Phone, RecordingState, Result } from '../api.gen.ts';
import type { PlainKey } from '../i18n/index.tsx';
import type { Mood } from '../ui/index.tsx';

export const STATE: Readonly<Record<CallState, PlainKey>> = {
  CREATED: 'call.state.CREATED',
  CONNECTING: 'call.state.CONNECTING',
  RINGING: 'call.state.RINGING',
  EARLY_MEDIA: 'call.state.EARLY_MEDIA',
  ACTIVE: 'call.state.ACTIVE',
  ENDING: 'call.state.ENDING',
  ENDED: 'call.state.ENDED',
};

export const STATE_MOOD: Readonly<Record<CallState, Mood>> = {
  CREATED: 'waiting',
  CONNECTING: 'waiting',
  RINGING: 'waiting',
  EARLY_MEDIA: 'waiting',
  ACTIVE: 'good',
  ENDING: 'off',
  ENDED: 'off',
};

export const DIRECTION: Readonly<Record<Direction, PlainKey>> = {
  whatsapp_to_sip: 'call.direction.whatsapp_to_sip',
  sip_to_whatsapp: 'call.direction.sip_to_whatsapp',
};

export const RESULT: Readonly<Record<Result, PlainKey>> = {
  success: 'call.result.success',
  local_error: 'call.result.local_error',
  remote_error: 'call.result.remote_error',
  upstream_error: 'call.result.upstream_error',
  indeterminate: 'call.result.indeterminate',
};

export const RECORDING: Readonly<Record<RecordingState | 'deleted', PlainKey>> = {
  recording: 'recording.state.recording',
  stopped: 'recording.state.stopped',
  done: 'recording.state.done',
  failed: 'recording.state.failed',
  interrupted: 'recording.state.interrupted',
  deleted: 'recording.state.deleted',
};

export const HOP: Readonly<Record<Hop, PlainKey>> = {
  page_speaker: 'hop.page_speaker',
  page_to_gateway: 'hop.page_to_gateway',
  gateway_to_phone: 'hop.gateway_to_phone',
  phone_to_gateway: 'hop.phone_to_gateway',
  gateway_to_page: 'hop.gateway_to_page',
  page_buffer: 'hop.page_buffer',
  page_microphone: 'hop.page_microphone',
};

/** Ends that happen in daily life; of others the slug is shown as it is in the API. */
const REASONS: Readonly<Record<string, PlainKey>> = {
  hangup: 'call.reason.hangup',
  cancelled: 'call.reason.cancelled',
  answered_elsewhere: 'call.reason.answered_elsewhere',
  rejected: 'call.reason.rejected',
  declined: 'call.reason.declined',
  busy: 'call.reason.busy',
  no_answer: 'call.reason.no_answer',
  unreachable: 'call.reason.unreachable',
  not_on_whatsapp: 'call.reason.not_on_whatsapp',
  line_busy: 'call.reason.line_busy',
  page_unavailable: 'call.reason.page_unavailable',
  page_lost: 'call.reason.page_lost',
  phone_lost: 'call.reason.phone_lost',
  media_failed: 'call.reason.media_failed',
  media_lost: 'call.reason.media_lost',
  shutdown: 'call.reason.shutdown',
};

export function reasonKey(reason: string): PlainKey | null {
  return Object.hasOwn(REASONS, reason) ? (REASONS[reason] ?? null) : null;
}

/** The WhatsApp party in one line; null where nothing is known of it. */
export function whatsAppParty({ number, name }: Party): string | null {
  const shown = number === null ? null : `+${number}`;
  if (name !== null && name !== '') return shown === null ? name : `${name} (${shown})`;
  return shown;
}

/** The phone in one line; null where nothing is known of it. */
export function sipParty({ user, name }: Phone): string | null {
  if (name !== null && name !== undefined && name !== '' && name !== user) return user === null ? name : `${name} (${user})`;
  return user;
}

/** `1:05`, `1:00:05`: how long something is or was. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value: number): string => String(value).padStart(2, '0');
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours === 0 ? `${minutes}:${two(whole % 60)}` : `${hours}:${two(minutes)}:${two(whole % 60)}`;
}

/** Bytes as people read them, in the unit of the file's size. */
export function size(bytes: number, number: (value: number, digits?: number) => string): string {
  if (bytes < 1000) return `${number(bytes)} B`;
  return bytes < 1e6 ? `${number(bytes / 1000)} kB` : `${number(bytes / 1e6, 1)} MB`;
}
