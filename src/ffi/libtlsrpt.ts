/*++
/* NAME
/*	libtlsrpt 3
/* SUMMARY
/*	bindings of libtlsrpt
/* DESCRIPTION
/*	Reports a failed handshake: the library sends one datagram to the
/*	socket of the collector. Text has one character per byte, as on
/*	the wire. The library copies it.
/*
/*	The library is loaded before the process enters its jail, if the
/*	installed Postfix is linked with it. Otherwise there are no
/*	reports.
/* SEE ALSO
/*	RFC 8460
/*--*/

import {addon as koffi} from './libc/addon.ts';
import {type Address, allocate, cText} from './libc/libc.ts';

type Call = ReturnType<ReturnType<typeof koffi.load>['func']>;

const calls = {
	open: 'int tlsrpt_open(void *con, const void *socket)',
	close: 'int tlsrpt_close(void *con)',
	request: 'int tlsrpt_init_delivery_request(void *dr, void *con, const void *domain, const void *record)',
	cancel: 'int tlsrpt_cancel_delivery_request(void *dr)',
	finish: 'int tlsrpt_finish_delivery_request(void *dr)',
	policy: 'int tlsrpt_init_policy(void *dr, int type, const void *domain)',
	finishPolicy: 'int tlsrpt_finish_policy(void *dr, int result)',
	policyString: 'int tlsrpt_add_policy_string(void *dr, const void *text)',
	mxHostPattern: 'int tlsrpt_add_mx_host_pattern(void *dr, const void *pattern)',
	failure:
		'int tlsrpt_add_delivery_request_failure(void *dr, int code, const void *sender, const void *name, const void *helo, const void *address, const void *info, const void *reason)',
	isInternal: 'int tlsrpt_error_code_is_internal(int code)',
	errnoOf: 'int tlsrpt_errno_from_error_code(int code)',
	strerror: 'const char *tlsrpt_strerror(int code)',
} as const;

let library: Readonly<Record<keyof typeof calls, Call>> | undefined;

/**
 * Loads the library.
 *
 * @param name - such as `libtlsrpt.so.0`.
 * @throws {Error} if it cannot be loaded, or lacks a function.
 */
export function loadTlsrpt(name: string): void {
	const loaded = koffi.load(name);
	library = Object.fromEntries(
		Object.entries(calls).map(([call, prototype]) => [call, loaded.func(prototype)]),
	) as Record<keyof typeof calls, Call>;
}

/** Whether the library has been loaded. */
export function hasTlsrpt(): boolean {
	return library !== undefined;
}

/** A failed handshake. Empty text is not reported. */
export interface FailureReport {
	readonly socket: string;
	readonly domain: string;
	readonly record: string;
	readonly policyType: number;
	readonly policyDomain: string;
	readonly policyStrings: readonly string[];
	readonly mxHostPatterns: readonly string[];
	readonly failureCode: number;
	readonly sendingAddress: string;
	readonly receivingName: string;
	readonly receivingHelo: string;
	readonly receivingAddress: string;
	readonly reason: string;
}

/* The pointers to struct tlsrpt_connection_t and struct tlsrpt_dr_t, which the library sets. */
const handles = allocate(16);
const connection = handles.address;
const request = (handles.address + 8n) as Address;

const TLSRPT_FINAL_FAILURE = 1;

/**
 * Sends a report.
 *
 * @returns undefined on success; otherwise an error code and the text of the library, or an error number of errno(3)
 * without text.
 */
export function sendFailure(
	report: FailureReport,
): {readonly code: number; readonly text?: string} | undefined {
	if (library === undefined) {
		return {code: 0, text: 'libtlsrpt is not loaded'};
	}

	const result = send(library, report);
	if (result === 0) {
		return undefined;
	}

	return library.isInternal(result) === 0
		? {code: library.errnoOf(result) as number}
		: {code: result, text: String(library.strerror(result))};
}

function send(lib: NonNullable<typeof library>, report: FailureReport): number {
	const opened = lib.open(connection, cText(report.socket)) as number;
	if (opened !== 0) {
		return opened;
	}

	let result = lib.request(request, pointerAt(0), cText(report.domain), cText(report.record)) as number;
	if (result === 0) {
		result = addFailure(lib, report);
		if (result === 0) {
			result = lib.finish(request) as number;
		} else {
			lib.cancel(request);
		}
	}

	lib.close(connection);
	return result;
}

/* Adds the policy and the failure. Returns the error code of the first call that fails, or zero. */
function addFailure(lib: NonNullable<typeof library>, report: FailureReport): number {
	const handle = pointerAt(8);
	const steps: ReadonlyArray<() => unknown> = [
		() => lib.policy(handle, report.policyType, optional(report.policyDomain)),
		...report.policyStrings.map(text => () => lib.policyString(handle, cText(text))),
		...report.mxHostPatterns.map(text => () => lib.mxHostPattern(handle, cText(text))),
		() =>
			lib.failure(
				handle,
				report.failureCode,
				optional(report.sendingAddress),
				optional(report.receivingName),
				optional(report.receivingHelo),
				optional(report.receivingAddress),
				null,
				optional(report.reason),
			),
		() => lib.finishPolicy(handle, TLSRPT_FINAL_FAILURE),
	];
	for (const step of steps) {
		const result = step() as number;
		if (result !== 0) {
			return result;
		}
	}

	return 0;
}

function pointerAt(offset: number): Address {
	return handles.view.getBigUint64(offset, true) as Address;
}

function optional(text: string): Uint8Array | null {
	return text === '' ? null : cText(text);
}
