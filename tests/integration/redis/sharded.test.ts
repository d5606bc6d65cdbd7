import { names } from './clients.js';
import { contract } from './contract.js';

contract({ cluster: true, sharded: true, names, isLong: true });
