/** Questions, and prepared answers that stand in for those of a language model. */
export const answers: Record<string, string> = {
	'Why one socket?': `Every browser that listens needs a way to hear from Inngest. The obvious bridge gives each of them one: a browser opens a stream to your server, and your server opens a socket to Inngest for it. With five hundred people on a page that makes five hundred sockets, all of which carry the same messages.

Here your server opens one. It subscribes to every channel that somebody listens to on that one socket, and drops a channel when its last reader has been gone for a while. A message comes in once, is checked against its schema once, is encoded once, and the same bytes are written to everybody who may read them.

So the thousandth reader costs about as much as writing a few bytes to one more response, and the number of connections that your plan allows stops being the number of people who may visit.`,

	'What if I lose my connection?': `Then you miss nothing that the server still remembers, and you are told if it does not.

Every message of a channel has a position. The browser keeps the position of the last message it received, and sends it when it connects again. The server looks into its log, sends what followed, and then goes on live: in order, without a gap and without a repeat.

The log has an end, of course. If you were away for too long, or the server process has been replaced, or the server itself lost Inngest for a moment, it cannot know what you missed. In that case it does not guess. It sends a resync, with the reason, and your page can load its data again. Silence never hides a loss.`,

	'Why not just poll?': `Polling is a fine answer for things that change now and then, and that people may see a little late. Ask every ten seconds, and on average you are five seconds behind; ask every second, and most of your requests are answered with nothing new.

An answer like this one shows where it ends. It arrives in small pieces, dozens of them in a second, and each is worth showing at once. To poll for them, something would have to store the pieces, number them, and hand out those you have not seen, which is a stream again, only made by hand.

A function that runs in Inngest publishes as it goes. What it publishes is on your screen some milliseconds later, and between two messages nothing at all has to happen.`
};

const TOKEN_MS = 25;

/** Streams a text in pieces, as slowly as a language model would. */
export function streamAnswer(text: string): ReadableStream {
	const tokens = text.match(/\s*\S{1,6}/g) ?? [];
	return new ReadableStream<string>({
		async pull(controller) {
			const token = tokens.shift();
			if (token === undefined) return controller.close();
			await new Promise((resolve) => setTimeout(resolve, TOKEN_MS));
			controller.enqueue(token);
		}
	}).pipeThrough(new TextEncoderStream());
}
