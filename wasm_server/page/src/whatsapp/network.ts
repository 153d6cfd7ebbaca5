/** Whether WebRTC has a way out of this browser: its IP policy, or the network, may leave it none. */

const PATIENCE_MS = 10_000;
/** Where there was none, the network may have come up since. */
const AGAIN_MS = 15_000;

/** Gathers candidates until there is one. Where gathering does not end nobody knows. */
export class NetworkProbe {
  private asked: number | null = null;
  /** undefined while nobody knows. */
  udp: boolean | undefined;

  constructor(
    private readonly Connection: typeof RTCPeerConnection | undefined,
    private readonly now: () => number,
  ) {}

  look(): void {
    if (this.Connection === undefined) return;
    const now = this.now();
    if (this.asked !== null && (this.udp !== false || now - this.asked < AGAIN_MS)) return;
    this.asked = now;
    void this.gather(this.Connection).catch(() => undefined);
  }

  private async gather(Connection: typeof RTCPeerConnection): Promise<void> {
    const connection = new Connection();
    const patience = setTimeout(() => {
      connection.close();
    }, PATIENCE_MS);
    connection.onicecandidate = ({ candidate }) => {
      const udp = candidate !== null && / udp /i.test(candidate.candidate);
      if (candidate !== null && !udp) return;
      this.udp = udp;
      clearTimeout(patience);
      connection.close();
    };
    connection.createDataChannel('probe');
    await connection.setLocalDescription(await connection.createOffer());
  }
}
