/**
 * Whether a failure with this HTTP status stays as it is when the same request is sent again. Timeouts
 * (408), rate limits (429) and faults of the server (5xx) may pass by themselves.
 */
export function isFatalStatus(status: number): boolean {
	return status >= 400 && status < 500 && status !== 408 && status !== 429;
}
