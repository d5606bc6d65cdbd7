/**
 * Whether a failure with this HTTP status would come again for the same request. Timeouts (408), rate limits
 * (429) and server errors (5xx) may go away by themselves.
 */
export function isFatalStatus(status: number): boolean {
	return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
