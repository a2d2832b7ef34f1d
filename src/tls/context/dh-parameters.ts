/*++
/* NAME
/*	dh-parameters 3
/* SUMMARY
/*	Diffie-Hellman parameters of a server
/* DESCRIPTION
/*	Those of a file, or else those that OpenSSL chooses to fit the
/*	certificate. Before Postfix 3.6, and before OpenSSL 3.0 with every
/*	release, the latter are always of 2048 bits: stock has a prime of
/*	its own there, and this program one that everybody knows.
/*
/*	Before Postfix 3.6 "auto" is the name of a file like others, and
/*	there is a second file, for ciphers that no library has any more:
/*	it is tried, for the sake of the warning.
/* DIAGNOSTICS
/*	A warning: handshakes go on with what is chosen without a file, or
/*	without this kind of key exchange.
/* SEE ALSO
/*	postfix src/tls/tls_dh.c, tls_set_dh_from_file(), tls_tmp_dh();
/*	RFC 7919
/*--*/

import type {ReleaseFeatures} from '../../conf/release.ts';
import {errno, strerror} from '../../ffi/libc/libc.ts';
import {SSL_CTX_set_dh_auto, setParametersFrom} from '../../ffi/openssl/dh.ts';
import {ERR_clear_error, isOpenssl3} from '../../ffi/openssl/libcrypto.ts';
import type {SslCtx} from '../../ffi/openssl/libssl.ts';
import {BIO_free, BIO_new_file, bioOf, pathBytes} from '../../ffi/openssl/pem.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';

/** The names of two files in PEM form; empty for none, and since 3.6 `auto` too. */
export interface ParameterFiles {
	readonly dh1024_param_file: string;
	/** Of no use. */
	readonly dh512_param_file: string;
}

/** Gives contexts their parameters. */
export function setDhParameters(
	contexts: readonly SslCtx[],
	{dh1024_param_file: file, dh512_param_file: weak}: ParameterFiles,
	{builtinDhParameters: ownParameters}: Pick<ReleaseFeatures, 'builtinDhParameters'>,
): void {
	ERR_clear_error();
	const set =
		file !== '' && (file !== 'auto' || ownParameters) && given(contexts, file, ownParameters && 1024);
	if (ownParameters && weak !== '') {
		given([], weak, 512);
	}

	if (set) {
		return;
	}

	if (ownParameters || !isOpenssl3()) {
		setWellKnown(contexts);
	} else if (!contexts.every(ctx => SSL_CTX_set_dh_auto(ctx, 1) === 1)) {
		warning('error configuring auto DH parameters');
		printErrors();
	}
}

/* Whether the file has parameters, be they of use or not. Before 3.6 they were called by a number of bits. */
function given(contexts: readonly SslCtx[], file: string, bits: number | false): boolean {
	const bio = BIO_new_file(pathBytes(file), 'r');
	if (bio === null) {
		const what =
			bits === false
				? `error opening DH parameter file "${file}"`
				: `cannot load ${bits}-bit DH parameters from file ${file}`;
		warning(`${what}: ${strerror(errno())} -- using compiled-in defaults`);
		ERR_clear_error();
		return false;
	}

	const result = setParametersFrom(contexts, bio);
	BIO_free(bio);
	if (result === 'set') {
		return true;
	}

	if (result === 'refused') {
		warning(REFUSED);
	} else {
		const what =
			bits === false
				? `error decoding DH parameters from file "${file}"`
				: `cannot load ${bits}-bit DH parameters from file ${file}`;
		warning(`${what} -- using compiled-in defaults`);
	}

	printErrors();
	return result === 'refused';
}

function setWellKnown(contexts: readonly SslCtx[]): void {
	const bio = bioOf(FFDHE2048);
	const result = bio === null ? 'undecodable' : setParametersFrom(contexts, bio);
	if (bio !== null) {
		BIO_free(bio);
	}

	if (result !== 'set') {
		warning(result === 'refused' ? REFUSED : 'error loading compiled-in DH parameters');
		printErrors();
	}
}

const REFUSED = 'error configuring explicit DH parameters';

/* Source: RFC 7919, appendix A.1. */
const FFDHE2048 = Buffer.from(`-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
`);
