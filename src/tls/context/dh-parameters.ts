/*++
/* NAME
/*	dh-parameters 3
/* SUMMARY
/*	Diffie-Hellman parameters of a server
/* DESCRIPTION
/*	The parameters come from a file. Without a file, OpenSSL chooses
/*	them according to the size of the certificate's key. With Postfix
/*	before 3.6, and with OpenSSL before 3.0, parameters without a file
/*	always have 2048 bits: stock has a compiled-in prime, this program
/*	uses ffdhe2048 of RFC 7919.
/*
/*	Before Postfix 3.6 "auto" is an ordinary file name. There is also a
/*	parameter with a second file, for export ciphers that no library
/*	has any more: it is opened only to log the same warning as stock.
/* DIAGNOSTICS
/*	A warning. Handshakes go on with the parameters that are used
/*	without a file, or without finite-field key exchange.
/* SEE ALSO
/*	postfix src/tls/tls_dh.c, tls_set_dh_from_file(), tls_tmp_dh();
/*	RFC 7919
/*--*/

import type {ReleaseFeatures} from '../../conf/release.ts';
import {cText, errno, strerror} from '../../ffi/libc/libc.ts';
import {BIO_free, BIO_new_file, bioOf} from '../../ffi/openssl/bio.ts';
import {loadDhParameters, SSL_CTX_set_dh_auto} from '../../ffi/openssl/dh.ts';
import {ERR_clear_error, isOpenssl3} from '../../ffi/openssl/libcrypto.ts';
import type {SslCtx} from '../../ffi/openssl/ssl-ctx.ts';
import {warning} from '../../log/log.ts';
import {isBlockingFile, NOT_REGULAR} from '../blocking-file.ts';
import {printErrors} from '../library.ts';

/** Names of two files in PEM format; empty: no file. Since 3.6, `auto` means no file, too. */
export interface ParameterFiles {
	readonly dh1024_param_file: string;
	/** Has no effect except for warnings. */
	readonly dh512_param_file: string;
}

/** Sets the parameters of SSL_CTXs. */
export function setDhParameters(
	contexts: readonly SslCtx[],
	{dh1024_param_file: file, dh512_param_file: weak}: ParameterFiles,
	{builtinDhParameters}: Pick<ReleaseFeatures, 'builtinDhParameters'>,
): void {
	ERR_clear_error();
	const set =
		file !== '' &&
		(file !== 'auto' || builtinDhParameters) &&
		loadFile(contexts, file, builtinDhParameters && 1024);
	if (builtinDhParameters && weak !== '') {
		loadFile([], weak, 512);
	}

	if (set) {
		return;
	}

	if (builtinDhParameters || !isOpenssl3()) {
		setWellKnown(contexts);
	} else if (!contexts.every(ctx => SSL_CTX_set_dh_auto(ctx, 1) === 1)) {
		warning('error configuring auto DH parameters');
		printErrors();
	}
}

/* Returns whether the file has parameters, usable or not. @param bits - their name in log lines before 3.6. */
function loadFile(contexts: readonly SslCtx[], file: string, bits: number | false): boolean {
	const blocks = isBlockingFile(file);
	const bio = blocks ? null : BIO_new_file(cText(file), 'r');
	if (bio === null) {
		const problem =
			bits === false
				? `error opening DH parameter file "${file}"`
				: `cannot load ${bits}-bit DH parameters from file ${file}`;
		warning(`${problem}: ${blocks ? NOT_REGULAR : strerror(errno())} -- using compiled-in defaults`);
		ERR_clear_error();
		return false;
	}

	const result = loadDhParameters(contexts, bio);
	BIO_free(bio);
	if (result === 'set') {
		return true;
	}

	if (result === 'refused') {
		warning(REFUSED);
	} else {
		const problem =
			bits === false
				? `error decoding DH parameters from file "${file}"`
				: `cannot load ${bits}-bit DH parameters from file ${file}`;
		warning(`${problem} -- using compiled-in defaults`);
	}

	printErrors();
	return result === 'refused';
}

function setWellKnown(contexts: readonly SslCtx[]): void {
	const bio = bioOf(FFDHE2048);
	const result = bio === null ? 'undecodable' : loadDhParameters(contexts, bio);
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
