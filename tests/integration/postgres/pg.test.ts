import { contract } from './contract.js';

contract('pg');
