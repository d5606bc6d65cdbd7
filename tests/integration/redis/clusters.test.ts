import { names } from './clients.js';
import { contract } from './contract.js';

// One client library is enough for the default run.
const isAll = process.env.BACKENDS === 'all';
contract({ cluster: true, sharded: false, names: isAll ? names : ['redis 6'] });
