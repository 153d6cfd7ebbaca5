/** Brings media.wasm into the audio contexts that need it. */

import { ABI, bytesOfBase64 } from '../config.ts';
import { PROCESSOR_NAME, STAGE_INPUTS, type StageOptions } from '../worklet/messages.ts';

/** The constructor as it was before it was hooked: our own nodes are not part of the page's graph. */
export type WorkletNodeConstructor = new (
  context: BaseAudioContext,
  name: string,
  options: AudioWorkletNodeOptions,
) => AudioWorkletNode;

/** A gateway that was cut off may still be asked for the script, and never answer: the sound goes on without it then. */
const LOAD_MS = 2000;

export class Worklets {
  private readonly module: Promise<WebAssembly.Module>;
  private readonly loaded = new WeakMap<BaseAudioContext, Promise<void>>();

  constructor(
    private readonly Node: WorkletNodeConstructor,
    private readonly workletUrl: string,
    wasm: string,
  ) {
    this.module = Promise.resolve().then(() => WebAssembly.compile(bytesOfBase64(wasm)));
    // Told to whoever makes a node; until then a page that forbids WASM is no unhandled rejection.
    this.module.catch(() => undefined);
  }

  /** A node running media.wasm; rejects when the page lets neither the script nor the WASM in. */
  async node(context: BaseAudioContext): Promise<AudioWorkletNode> {
    let loading = this.loaded.get(context);
    if (loading === undefined) {
      loading = inTime(context.audioWorklet.addModule(this.workletUrl), LOAD_MS);
      this.loaded.set(context, loading);
      // A failure may be of the moment (the gateway was away): the next stage tries again.
      loading.catch(() => this.loaded.delete(context));
    }
    const [module] = await Promise.all([this.module, loading]);
    const processorOptions: StageOptions = { module, abi: ABI };
    return new this.Node(context, PROCESSOR_NAME, {
      numberOfInputs: STAGE_INPUTS,
      numberOfOutputs: 1,
      outputChannelCount: [1],
      channelCount: 1,
      channelCountMode: 'explicit',
      processorOptions,
    });
  }
}

function inTime(loading: Promise<void>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      reject(new Error(`the worklet's script did not come within ${ms} ms`));
    }, ms);
    loading.then(resolve, reject).finally(() => {
      clearTimeout(timer);
    });
  });
}
