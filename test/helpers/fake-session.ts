import type {CacheableSession} from '../../src/tls/resume/session-cache.ts';

/** Replaces a session, and counts its disposals. */
export class FakeSession implements CacheableSession<FakeSession> {
	readonly value: number;
	readonly singleUse: boolean;
	readonly copies: FakeSession[] = [];
	disposals = 0;

	constructor(value: number, singleUse: boolean) {
		this.value = value;
		this.singleUse = singleUse;
	}

	copy(): FakeSession {
		const copy = new FakeSession(this.value, this.singleUse);
		this.copies.push(copy);
		return copy;
	}

	[Symbol.dispose](): void {
		this.disposals++;
	}
}
