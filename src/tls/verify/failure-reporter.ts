/*++
/* NAME
/*	failure-reporter 3
/* SUMMARY
/*	TLSRPT reports about failed handshakes, RFC 8460
/* DESCRIPTION
/*	A domain can request reports about TLS connections to its servers.
/*	smtp(8) passes that request on. This process reports failures in
/*	the handshake, which smtp(8) cannot see; smtp(8) reports successes.
/*
/*	Each request is reported once: the first failure is the nearest to
/*	the cause.
/* DIAGNOSTICS
/*	A warning when a report cannot be made. The session continues.
/* SEE ALSO
/*	postfix src/tls/tlsrpt_wrapper.c
/*--*/

import {strerror} from '../../ffi/libc/libc.ts';
import {hasTlsrpt, sendFailure} from '../../ffi/libtlsrpt.ts';
import {info, warning} from '../../log/log.ts';
import type {ClientStart} from '../../wire/client-settings.ts';

/* Failure codes of libtlsrpt. */
const failureCodes = {
	certificate_not_trusted: 203,
	certificate_expired: 204,
	validation_failure: 205,
	sts_policy_fetch_error: 301,
	sts_policy_invalid: 302,
	sts_webpki_invalid: 303,
	tlsa_invalid: 304,
} as const;

/** The type of a failure. */
export type FailureType = keyof typeof failureCodes;

/* Failures that smtp(8) can request. */
const forcedTypes: ReadonlyMap<string, FailureType> = new Map([
	['sts-policy-fetch-error', 'sts_policy_fetch_error'],
	['sts-policy-invalid', 'sts_policy_invalid'],
	['sts-webpki-invalid', 'sts_webpki_invalid'],
	['validation-failure', 'validation_failure'],
]);

/** The failure type that a request names; an unknown name is a general failure. */
export function forcedFailure(name: string): FailureType {
	return forcedTypes.get(name) ?? 'validation_failure';
}

/* Bits of `flags`. Source: postfix src/tls/tlsrpt_wrapper.h. */
const TRW_FLAG_HAVE_TLS_POLICY = 1;
const TRW_FLAG_REPORTED = 8;

/** Reports about one request. */
export class FailureReporter {
	readonly #request: NonNullable<ClientStart['tlsrpt']>;
	#reported: boolean;

	private constructor(request: NonNullable<ClientStart['tlsrpt']>) {
		this.#request = request;
		this.#reported = (request.flags & TRW_FLAG_REPORTED) !== 0;
	}

	/** Undefined when no report is requested, or Postfix is not linked with libtlsrpt. */
	static for({tlsrpt}: ClientStart): FailureReporter | undefined {
		return tlsrpt === undefined || !hasTlsrpt() ? undefined : new FailureReporter(tlsrpt);
	}

	/**
	 * Whether smtp(8) has nothing left to report.
	 *
	 * @param reused - the handshake resumed a session, which was reported when it was new.
	 */
	isSettled(reused: boolean): boolean {
		return this.#reported || (reused && this.#request.skip_reused_hs !== 0);
	}

	/**
	 * Reports a failure, unless one has been reported.
	 *
	 * @param reason - a more precise reason; empty: none.
	 */
	report(type: FailureType, reason = ''): void {
		const request = this.#request;
		if ((request.flags & TRW_FLAG_HAVE_TLS_POLICY) === 0) {
			warning('trw_report_failure: missing trw_set_tls_policy call');
			return;
		}

		if (this.#reported) {
			return;
		}

		this.#reported = true;
		const receiver = `${request.rcv_mta_name || '(Null)'}[${request.rcv_mta_addr || '(Null)'}]`;
		const detail = reason === '' ? '' : `, failure_reason=${reason}`;
		info(
			`TLSRPT: status=failure, domain=${request.rpt_policy_domain}, receiving_mx=${receiver}, failure_type=${type}${detail}`,
		);
		const problem = sendFailure({
			socket: request.rpt_socket_name,
			domain: request.rpt_policy_domain,
			record: request.rpt_policy_string,
			policyType: request.tls_policy_type,
			policyDomain: request.tls_policy_domain,
			policyStrings: request.tls_policy_strings,
			mxHostPatterns: request.mx_host_patterns,
			failureCode: failureCodes[type],
			sendingAddress: request.snd_mta_addr,
			receivingName: request.rcv_mta_name,
			receivingHelo: request.rcv_mta_ehlo,
			receivingAddress: request.rcv_mta_addr,
			reason,
		});
		if (problem !== undefined) {
			const {code, text} = problem;
			const message = text === undefined ? `${strerror(code)} (errno ${code})` : `${text} (error ${code})`;
			warning(`Could not report TLS handshake result to tlsrpt library: ${message}`);
		}
	}
}
