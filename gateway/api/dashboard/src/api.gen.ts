// Made by `python -m tests.support.dashboard_types` of the API's schemas; a test holds it to them.
/* eslint-disable */

export const EVENT_TYPES = ["call.incoming", "call.state", "call.ended", "call.recording", "page.state", "session.qr", "registration.state", "audio.one_way", "account.state"] as const;

export type EventType = (typeof EVENT_TYPES)[number];

export interface AccountDetail {
  id: string;
  name: string;
  created_at: string;
  enabled: boolean | null;
  state: AccountParts;
  calls: number;
  keys: KeyView[];
}

export interface AccountList {
  accounts: AccountView[];
}

export interface AccountParts {
  page: PartView;
  media: PartView;
  registration: PartView;
  listener: PartView;
  phones: PartView;
}

export interface AccountRequest {
  name: string;
  label?: string;
}

export interface AccountStateChanged {
  state: "enabled" | "disabled" | "draining";
}

export interface AccountView {
  id: string;
  name: string;
  created_at: string;
  enabled: boolean | null;
  state: AccountParts;
  calls: number;
}

export interface AttemptView {
  at: string;
  status: number | null;
  error: string;
  duration_ms: number;
}

export interface AudioOneWay {
  call_id: string;
  direction: Direction;
  origin: Origin;
  whatsapp_number: string | null;
  whatsapp_name: string | null;
  sip_user: string | null;
  silent: "wa_to_sip" | "sip_to_wa" | null;
  hop: Hop | null;
  why: string | null;
}

export interface BridgeAnswer {
  status: "ok";
  message: string;
  config: BridgeConfigView;
  state: PartsView;
  calls: CallLine[];
  warnings: FaultView[];
}

export interface BridgeConfigView {
  enabled: boolean;
  sipServer: string | null;
  sipUser: string | null;
  sipPass: string | null;
  sipListenPort: number;
  sipListenUser: string | null;
  sipListenSecret: string | null;
  sipExtension: string | null;
  wasmServerPort: number;
  wasmServerIP: string | null;
  chromeRemoteURL: string | null;
  nodeRemoteHelper: string | null;
}

export interface BridgeFields {
  enabled: boolean;
  sipServer?: string | null;
  sipUser?: string | null;
  sipPass?: string | null;
  sipListenPort?: number | "" | null;
  sipListenUser?: string | null;
  sipListenSecret?: string | null;
  sipExtension?: string | null;
  wasmServerPort?: number | "" | null;
  wasmServerIP?: string | null;
  chromeRemoteURL?: string | null;
  nodeRemoteHelper?: string | null;
}

export interface BridgeStatusView {
  enabled: boolean;
  state: PartsView;
  calls: CallLine[];
}

export interface BridgeTest {
  ok: boolean;
  checks: CheckView[];
}

export interface BridgeTestFields {
  enabled?: boolean;
  sipServer?: string | null;
  sipUser?: string | null;
  sipPass?: string | null;
  sipListenPort?: number | "" | null;
  sipListenUser?: string | null;
  sipListenSecret?: string | null;
  sipExtension?: string | null;
  wasmServerPort?: number | "" | null;
  wasmServerIP?: string | null;
  chromeRemoteURL?: string | null;
  nodeRemoteHelper?: string | null;
}

export interface BuildView {
  version: string;
  at: string;
  lacks?: string[];
}

export interface CallEnded {
  call_id: string;
  direction: Direction;
  origin: Origin;
  whatsapp_number: string | null;
  whatsapp_name: string | null;
  sip_user: string | null;
  created_at: string;
  answered_at: string | null;
  ended_at: string | null;
  duration_s: number | null;
  result: Result;
  reason: string;
  sip_status: number | null;
  q850_cause: number | null;
  quality?: Quality | null;
}

export interface CallIncoming {
  call_id: string;
  direction: Direction;
  origin: Origin;
  whatsapp_number: string | null;
  whatsapp_name: string | null;
  sip_user: string | null;
}

export interface CallLine {
  id: string;
  direction: Direction;
  state: CallState;
  peer: string;
  created_at: string;
  answered_at: string | null;
}

export interface CallList {
  calls: CallRecordView[];
  next: string | null;
}

export interface CallRecordView {
  id: string;
  direction: Direction;
  origin: Origin;
  state: CallState;
  whatsapp: Party;
  sip: Phone;
  created_at: string;
  ringing_at: string | null;
  answered_at: string | null;
  ended_at: string | null;
  duration_s: number | null;
  ending: Ending | null;
  quality: Quality | null;
  recording: Recording | null;
}

export interface CallRecording {
  call_id: string;
  direction: Direction;
  origin: Origin;
  whatsapp_number: string | null;
  whatsapp_name: string | null;
  sip_user: string | null;
  state: "started" | "stopped" | "failed";
  file: string;
  format: "opus" | "wav";
  duration_s: number;
  bytes: number;
  reason: string;
  detail: string;
}

export type CallState = "CREATED" | "CONNECTING" | "RINGING" | "EARLY_MEDIA" | "ACTIVE" | "ENDING" | "ENDED";

export interface CallStateChanged {
  call_id: string;
  direction: Direction;
  origin: Origin;
  whatsapp_number: string | null;
  whatsapp_name: string | null;
  sip_user: string | null;
  state: CallState;
}

export interface CallView {
  id: string;
  direction: Direction;
  origin: Origin;
  state: CallState;
  whatsapp: Party;
  sip: Phone;
  created_at: string;
  ringing_at: string | null;
  answered_at: string | null;
  ended_at: string | null;
  held: boolean;
  muted: boolean;
  transfer: TransferView | null;
  quality: Quality | null;
  path: PathView | null;
  recording: Recording | null;
  ending: Ending | null;
}

export interface CheckState {
  ok: boolean;
  detail: string;
}

export interface CheckView {
  check: string;
  ok: boolean;
  detail: string;
  fix: string;
}

export interface CodeRequest {
  phone: string;
}

export interface CodeView {
  code: string;
}

export interface DeliveryList {
  deliveries: DeliveryView[];
}

export interface DeliveryView {
  id: string;
  event: Envelope;
  state: "pending" | "delivered" | "failed";
  next_try_at: string | null;
  attempts: AttemptView[];
}

export type Direction = "whatsapp_to_sip" | "sip_to_whatsapp";

export interface DirectionQuality {
  packets: number;
  lost: number;
  jitter_ms: number;
  dropped: number;
  keys: number;
  mos?: number | null;
  r?: number | null;
  scale?: "narrow" | "wide" | null;
  loss_percent?: number | null;
  burst_r?: number | null;
  delay_ms?: number | null;
  level_dbfs?: number | null;
  concealed_ms?: number | null;
}

export interface DtmfRequest {
  digits: string;
  duration_ms?: number;
}

export interface Ending {
  result: Result;
  reason: string;
  sip_status: number | null;
  q850_cause: number | null;
}

export interface Envelope {
  id: string;
  type: string;
  timestamp: string;
  data: Record<string, unknown>;
}

export interface EraseRequest {
  number: string;
}

export interface Erased {
  calls: number;
}

export interface EventList {
  events: Envelope[];
}

export interface FaultView {
  field: string;
  message: string;
}

export type Hop = "page_speaker" | "page_to_gateway" | "gateway_to_phone" | "phone_to_gateway" | "gateway_to_page" | "page_buffer" | "page_microphone";

export interface HopView {
  hop: Hop;
  packets: number | null;
  level_dbfs: number | null;
  silent: boolean | null;
  delay_ms: number | null;
}

export interface KeyRequest {
  label?: string;
}

export interface KeyView {
  id: string;
  label: string;
  created_at: string;
  revoked_at: string | null;
}

export interface KeysTaken {
  taken: number;
}

export type Lane = "pbx" | "ponte" | "page";

export interface Live {
  status: "ok";
}

export interface LiveCalls {
  calls: CallView[];
}

export interface MuteRequest {
  muted?: boolean;
}

export interface NeedView {
  name: string;
  found: boolean;
  use: string;
}

export interface NewAccount {
  id: string;
  name: string;
  created_at: string;
  enabled: boolean | null;
  state: AccountParts;
  calls: number;
  key: NewKey;
}

export interface NewKey {
  id: string;
  label: string;
  created_at: string;
  revoked_at: string | null;
  key: string;
}

export interface NoFields {
}

export interface OfferRequest {
  number: string;
  extension?: string | null;
}

export type Origin = "whatsapp" | "sip" | "api";

export type PageState = "DETACHED" | "ATTACHING" | "LOADING" | "LOGIN_REQUIRED" | "INJECTING" | "READY" | "DEGRADED" | "LOST";

export interface PageStateChanged {
  state: string;
  detail: string;
}

export interface PartView {
  state: string;
  detail: string;
}

export interface PartsView {
  page: PartView;
  media: PartView;
  registration: PartView;
  listener: PartView;
  phones: PartView;
}

export interface Party {
  number: string | null;
  name: string | null;
}

export interface PathView {
  wa_to_sip: HopView[];
  sip_to_wa: HopView[];
  broken: Hop[];
  why: string[];
}

export interface Phone {
  user: string | null;
  name?: string | null;
}

export interface ProblemView {
  type: string;
  title: string;
  status: number;
  code: string;
  detail: string;
  errors: FaultView[];
  call_id?: string | null;
  state?: string | null;
}

export interface QrView {
  code: string;
}

export interface Quality {
  codec: string | null;
  wa_to_sip: DirectionQuality;
  sip_to_wa: DirectionQuality;
  round_trip_ms: number | null;
  page_round_trip_ms?: number | null;
  peer_lost: number;
  peer_jitter_ms: number;
  page_lost?: number;
  page_jitter_ms?: number;
  late_ms?: number;
}

export interface Ready {
  status: "ok" | "unfit";
  checks: Record<string, CheckState>;
}

export interface RecordRequest {
  recording?: boolean;
}

export interface Recording {
  file: string;
  format?: RecordingFormat;
  state?: RecordingState | "deleted";
  duration_s: number;
  bytes?: number;
  started_at?: string | null;
  reason?: string;
  detail?: string;
}

export type RecordingFormat = "opus" | "wav";

export type RecordingState = "recording" | "stopped" | "done" | "failed" | "interrupted";

export interface RegistrationStateChanged {
  state: string;
  detail: string;
}

export type Result = "success" | "local_error" | "remote_error" | "upstream_error" | "indeterminate";

export interface SessionQr {
  code: string;
  expires_at?: string | null;
}

export interface SessionView {
  state: PageState;
  detail: string;
  since: string;
  number: string | null;
  takes_calls: boolean;
  places_calls: boolean;
  whatsapp_version: string | null;
  wajs_version: string | null;
  worked_last: BuildView | null;
  tried_last: BuildView | null;
  missing: string[];
  needs: NeedView[];
}

export interface TraceEntryView {
  at_ms: number;
  from: Lane;
  to: Lane;
  kind: TraceKind;
  text: string;
  detail: string;
  leg: string;
}

export type TraceKind = "sip" | "page" | "media" | "call";

export interface TraceView {
  call_id: string;
  started_at: string;
  truncated: boolean;
  entries: TraceEntryView[];
}

export interface TransferRequest {
  extension: string;
}

export type TransferState = "trying" | "done" | "failed";

export interface TransferView {
  extension: string;
  state: TransferState;
}

export interface WebhookChange {
  url?: string | null;
  events?: ("call.incoming" | "call.state" | "call.ended" | "call.recording" | "page.state" | "session.qr" | "registration.state" | "audio.one_way" | "account.state")[] | null;
  enabled?: boolean | null;
}

export interface WebhookList {
  webhooks: WebhookView[];
}

export interface WebhookRequest {
  url: string;
  events?: ("call.incoming" | "call.state" | "call.ended" | "call.recording" | "page.state" | "session.qr" | "registration.state" | "audio.one_way" | "account.state")[];
}

export interface WebhookSecret {
  id: string;
  url: string;
  events: string[];
  enabled: boolean;
  disabled_reason: string;
  created_at: string;
  failures: number;
  paused_until: string | null;
  old_secret_until: string | null;
  secret: string;
}

export interface WebhookView {
  id: string;
  url: string;
  events: string[];
  enabled: boolean;
  disabled_reason: string;
  created_at: string;
  failures: number;
  paused_until: string | null;
  old_secret_until: string | null;
}

export interface EventData {
  "call.incoming": CallIncoming;
  "call.state": CallStateChanged;
  "call.ended": CallEnded;
  "call.recording": CallRecording;
  "page.state": PageStateChanged;
  "session.qr": SessionQr;
  "registration.state": RegistrationStateChanged;
  "audio.one_way": AudioOneWay;
  "account.state": AccountStateChanged;
}
