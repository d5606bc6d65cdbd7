import { startInngestDev } from 'sveltekit-inngest/dev';

const engine = await startInngestDev();
console.log(engine.url);
// Ends with whoever started it.
process.stdin.resume().on('end', () => process.exit());
