/**
 * HeadCheck: whether the head of a request says clearly how long its body is, and whom it asks. The library takes the first of several headers, and any `Transfer-Encoding` for
 * `chunked`; a proxy in front may read the same bytes otherwise, and see other requests in them (RFC 9112, sections 3.2 and 6.3).
 */
import type { Request } from '../transports/u-web-sockets.ts';

const DIGITS = /^\d{1,15}$/;

export class HeadCheck {
  private lengths = 0;
  private encodings = 0;
  private hosts = 0;
  private isBad = false;

  /** @returns what is unclear; '' for nothing */
  problemOf(request: Request): string {
    this.lengths = 0;
    this.encodings = 0;
    this.hosts = 0;
    this.isBad = false;
    request.forEach(this.look);
    if (this.isBad || this.lengths > 1 || this.encodings > 1 || (this.lengths > 0 && this.encodings > 0))
      return 'the head must have one Content-Length with a number, or "Transfer-Encoding: chunked", or neither';
    return this.hosts > 1 ? 'the head must have one Host' : '';
  }

  private readonly look = (name: string, value: string): void => {
    switch (name) {
      case 'content-length':
        this.lengths++;
        if (!DIGITS.test(value)) this.isBad = true;
        break;
      case 'transfer-encoding':
        this.encodings++;
        if (value.toLowerCase() !== 'chunked') this.isBad = true;
        break;
      case 'host':
        this.hosts++;
        break;
    }
  };
}
