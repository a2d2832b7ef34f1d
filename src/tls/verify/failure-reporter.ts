/*++
/* NAME
/*	failure-reporter 3
/* SUMMARY
/*	reports on failed handshakes, RFC 8460
/* DESCRIPTION
/*	A domain can ask to be told how TLS with its servers fares. smtp(8)
/*	says so with its request. What fails in a handshake is known here
/*	only, and for a handshake that has no outcome this is the only one
/*	to report it; successes are the affair of smtp(8).
/*
/*	A request is reported once: the first failure is the nearest to
/*	the cause.
/* DIAGNOSTICS
/*	A warning when a report cannot be made. The session goes on.
/* SEE ALSO
/*	postfix src/tls/tlsrpt_wrapper.c
/*--*/

import {strerror} from '../../ffi/libc/libc.ts';
import {hasTlsrpt, sendFailure} from '../../ffi/libtlsrpt.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';

/* Numbers of libtlsrpt. */
const failureCodes = {
	certificate_not_trusted: 203,
	certificate_expired: 204,
	validation_failure: 205,
	sts_policy_fetch_error: 301,
	sts_policy_invalid: 302,
	sts_webpki_invalid: 303,
	tlsa_invalid: 304,
} as const;

/** What has failed. */
export type FailureType = keyof typeof failureCodes;

/* Failures that smtp(8) can ask for. */
const forcedTypes: ReadonlyMap<string, FailureType> = new Map([
	['sts-policy-fetch-error', 'sts_policy_fetch_error'],
	['sts-policy-invalid', 'sts_policy_invalid'],
	['sts-webpki-invalid', 'sts_webpki_invalid'],
	['validation-failure', 'validation_failure'],
]);

/** The failure of a name that a request has; one that nobody knows fails in general. */
export function forcedFailure(name: string): FailureType {
	return forcedTypes.get(name) ?? 'validation_failure';
}

/* Bits of `flags`. Source: postfix src/tls/tlsrpt_wrapper.h. */
const TRW_FLAG_HAVE_TLS_POLICY = 1;
const TRW_FLAG_REPORTED = 8;

/** The reports on one request. */
export class FailureReporter {
	readonly #wanted: NonNullable<ClientStart['tlsrpt']>;
	#reported: boolean;

	private constructor(wanted: NonNullable<ClientStart['tlsrpt']>) {
		this.#wanted = wanted;
		this.#reported = (wanted.flags & TRW_FLAG_REPORTED) !== 0;
	}

	/** Undefined when nobody wants reports, or none can be made. */
	static for({tlsrpt}: ClientStart): FailureReporter | undefined {
		return tlsrpt === undefined || !hasTlsrpt() ? undefined : new FailureReporter(tlsrpt);
	}

	/**
	 * Whether smtp(8) has nothing to report any more.
	 *
	 * @param reused - the handshake has resumed a session, which was reported when it was new.
	 */
	isSettled(reused: boolean): boolean {
		return this.#reported || (reused && this.#wanted.skip_reused_hs !== 0);
	}

	/**
	 * Reports a failure, unless one was reported before.
	 *
	 * @param reason - more precisely, in words of our own or of OpenSSL; empty for none.
	 */
	report(type: FailureType, reason = ''): void {
		const wanted = this.#wanted;
		if ((wanted.flags & TRW_FLAG_HAVE_TLS_POLICY) === 0) {
			warning('trw_report_failure: missing trw_set_tls_policy call');
			return;
		}

		if (this.#reported) {
			return;
		}

		this.#reported = true;
		const receiver = `${wanted.rcv_mta_name || '(Null)'}[${wanted.rcv_mta_addr || '(Null)'}]`;
		const why = reason === '' ? '' : `, failure_reason=${reason}`;
		info(
			`TLSRPT: status=failure, domain=${wanted.rpt_policy_domain}, receiving_mx=${receiver}, failure_type=${type}${why}`,
		);
		const problem = sendFailure({
			socket: wanted.rpt_socket_name,
			domain: wanted.rpt_policy_domain,
			record: wanted.rpt_policy_string,
			policyType: wanted.tls_policy_type,
			policyDomain: wanted.tls_policy_domain,
			policyStrings: wanted.tls_policy_strings,
			mxHostPatterns: wanted.mx_host_patterns,
			failureCode: failureCodes[type],
			sendingAddress: wanted.snd_mta_addr,
			receivingName: wanted.rcv_mta_name,
			receivingHelo: wanted.rcv_mta_ehlo,
			receivingAddress: wanted.rcv_mta_addr,
			reason,
		});
		if (problem !== undefined) {
			const {code, text} = problem;
			const what = text === undefined ? `${strerror(code)} (errno ${code})` : `${text} (error ${code})`;
			warning(`Could not report TLS handshake result to tlsrpt library: ${what}`);
		}
	}
}
