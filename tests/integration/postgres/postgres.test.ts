import { contract } from './contract.js';

contract('postgres');
