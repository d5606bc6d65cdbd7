import { answer } from './answer.js';
import { job } from './job.js';
import { demoMessage } from './message.js';
import { teamPost } from './team.js';

export const functions = [demoMessage, teamPost, job, answer];
