/** The calls of a page that a script drives: the gateway runs the script, and this bundle knows nothing of them. */

import { PonteError } from '../errors.ts';

const refuse = (): never => {
  throw new PonteError('not_here', 'the calls of this page are driven by a script');
};

export const SCRIPTED = { dial: refuse, accept: refuse, reject: refuse, end: refuse, list: (): [] => [] } as const;
