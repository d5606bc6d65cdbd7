import { names } from './clients.js';
import { contract } from './contract.js';

contract({ cluster: false, sharded: false, names });
