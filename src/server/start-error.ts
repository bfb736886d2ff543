/**
 * StartError: the broker cannot start for a reason that lies in the world (a port in use, an address that is not there). Its message is the one clear
 * line that a person sees; there is no stack to show.
 */
export class StartError extends Error {
  /** 1: the world; 2: what the user asked for. */
  readonly exitCode: 1 | 2;

  /** What is wrong, for who answers with a status: what is asked for is not there, contradicts what is, or makes no sense; or the world does not let it. */
  readonly kind: 'missing' | 'conflict' | 'invalid' | 'failed';

  constructor(message: string, exitCode: 1 | 2, kind: StartError['kind'] = 'failed') {
    super(message);
    this.name = 'StartError';
    this.kind = kind;
    this.exitCode = exitCode;
  }
}
