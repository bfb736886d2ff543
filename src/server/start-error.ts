/**
 * StartError: the broker cannot start for a reason that lies in the world (a port in use, an address that is not there). Its message is the one clear
 * line that a person sees; there is no stack to show.
 */
export class StartError extends Error {
  /** 1: the world; 2: what the user asked for. */
  readonly exitCode: 1 | 2;

  constructor(message: string, exitCode: 1 | 2) {
    super(message);
    this.name = 'StartError';
    this.exitCode = exitCode;
  }
}
