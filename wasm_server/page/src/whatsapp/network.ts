/** Whether WebRTC has a way out of this browser: its IP policy, or the network, may leave it none. */

const PATIENCE_MS = 10_000;

/** Gathers candidates once. Where gathering does not end, as on a machine with nothing but loopback, nobody knows. */
export class NetworkProbe {
  private started = false;
  /** undefined while nobody knows. */
  udp: boolean | undefined;

  constructor(private readonly Connection: typeof RTCPeerConnection | undefined) {}

  look(): void {
    if (this.started || this.Connection === undefined) return;
    this.started = true;
    void this.gather(this.Connection).catch(() => undefined);
  }

  private async gather(Connection: typeof RTCPeerConnection): Promise<void> {
    const connection = new Connection();
    const patience = setTimeout(() => {
      connection.close();
    }, PATIENCE_MS);
    connection.onicecandidate = ({ candidate }) => {
      if (candidate === null) this.udp ??= false;
      else if (/ udp /i.test(candidate.candidate)) this.udp = true;
      if (candidate !== null && this.udp !== true) return;
      clearTimeout(patience);
      connection.close();
    };
    connection.createDataChannel('probe');
    await connection.setLocalDescription(await connection.createOffer());
  }
}
