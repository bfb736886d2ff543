/**
 * A bad network in front of an endpoint: it loses, delays and reorders datagrams, as a seed says. One client at a time.
 */
import type { RemoteInfo, Socket } from 'node:dgram';
import { Random } from '../../sim/random.ts';
import { openSocket } from './native-client.ts';

export interface Weather {
  /** Part of the datagrams that is lost, 0 to 1. */
  readonly loss: number;
  /** A datagram is late by up to this, so that later ones overtake it. */
  readonly delayMilliseconds: number;
}

export class BadNetwork {
  lostCount: number;
  passedCount: number;
  readonly port: number;
  private readonly inside: Socket;
  private readonly outside: Socket;
  private readonly random: Random;
  private readonly weather: Weather;
  private client: RemoteInfo | null;
  private isClosed: boolean;

  constructor(outside: Socket, inside: Socket, target: number, seed: number, weather: Weather) {
    this.lostCount = 0;
    this.passedCount = 0;
    this.port = outside.address().port;
    this.inside = inside;
    this.outside = outside;
    this.random = new Random(seed);
    this.weather = weather;
    this.client = null;
    this.isClosed = false;
    outside.on('message', (bytes, from) => {
      this.client = from;
      this.pass(bytes, inside, target);
    });
    inside.on('message', (bytes) => {
      if (this.client !== null) this.pass(bytes, outside, this.client.port);
    });
  }

  close(): void {
    this.isClosed = true;
    this.inside.close();
    this.outside.close();
  }

  private pass(bytes: Buffer, socket: Socket, port: number): void {
    if (this.random.chance(this.weather.loss)) {
      this.lostCount++;
      return;
    }
    this.passedCount++;
    const late = this.random.below(this.weather.delayMilliseconds + 1);
    const send = (): void => {
      if (!this.isClosed) socket.send(bytes, port, '127.0.0.1');
    };
    if (late === 0) send();
    else setTimeout(send, late);
  }
}

export async function openNetwork(target: number, seed: number, weather: Weather): Promise<BadNetwork> {
  return new BadNetwork(await openSocket('127.0.0.1'), await openSocket('127.0.0.1'), target, seed, weather);
}
