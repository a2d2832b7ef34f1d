/*++
/* NAME
/*	certificates 3
/* SUMMARY
/*	loads the certificates, keys and trusted certificates of an SSL_CTX
/* DESCRIPTION
/*	The settings name the files. chain_files, when not empty, replaces
/*	the three older pairs of certificate and key file. A pair with two
/*	equal names is read like a chain file in which the key may stand
/*	anywhere.
/* DIAGNOSTICS
/*	false: the reason has been logged, and the SSL_CTX is unusable.
/* SEE ALSO
/*	postfix src/tls/tls_certkey.c
/*--*/

import {Panic} from '../../base/errors.ts';
import {cText, errno, strerror} from '../../ffi/libc/libc.ts';
import {BIO_free, BIO_new_file, type Bio, bioOf} from '../../ffi/openssl/bio.ts';
import {
	type Decoded,
	ERR_clear_error,
	EVP_PKEY_free,
	EVP_PKEY_RSA,
	type EvpPkey,
	nonNull,
} from '../../ffi/openssl/libcrypto.ts';
import {
	decodeCertificate,
	decodePrivateKey,
	endOfPem,
	type PemObject,
	readPem,
} from '../../ffi/openssl/pem.ts';
import {
	SSL_CTX_check_private_key,
	SSL_CTX_load_verify_locations,
	SSL_CTX_set_default_verify_paths,
	SSL_CTX_use_cert_and_key,
	SSL_CTX_use_certificate_chain_file,
	SSL_CTX_use_PrivateKey_file,
	SSL_FILETYPE_PEM,
	type SslCtx,
} from '../../ffi/openssl/ssl-ctx.ts';
import {
	OPENSSL_sk_free,
	OPENSSL_sk_new_null,
	OPENSSL_sk_push,
	type X509,
	X509_free,
} from '../../ffi/openssl/x509.ts';
import {info, warning} from '../../log/log.ts';
import {isBlockingFile, NOT_REGULAR} from '../blocking-file.ts';
import {printErrors} from '../library.ts';
import {filesOfChain, type IdentityFiles, pairs} from './named-files.ts';

/**
 * Loads trusted certificates.
 *
 * @param appendDefault - also trust the authorities of the system; without effect when both names are empty.
 * Source: tls_set_ca_certificate_info(), postfix src/tls/tls_certkey.c.
 */
export function loadAuthorities(
	ctx: SslCtx,
	CAfile: string,
	CApath: string,
	appendDefault: boolean,
): boolean {
	if (CAfile === '' && CApath === '') {
		return true;
	}

	const file = CAfile === '' ? null : cText(CAfile);
	const path = CApath === '' ? null : cText(CApath);
	const blocks = CAfile !== '' && isBlockingFile(CAfile);
	if (blocks || SSL_CTX_load_verify_locations(ctx, file, path) !== 1) {
		const names = [
			file === null ? [] : [`CAfile="${CAfile}"`],
			path === null ? [] : [`CApath="${CApath}"`],
		].flat();
		info(`cannot load Certification Authority data, ${names.join(', ')}: disabling TLS support`);
		logFileProblem(blocks, CAfile);
		return false;
	}

	if (appendDefault && SSL_CTX_set_default_verify_paths(ctx) !== 1) {
		info('cannot set default OpenSSL certificate verification paths: disabling TLS support');
		printErrors();
		return false;
	}

	return true;
}

/** Loads the identity, if one is configured. Source: tls_set_my_certificate_key_info(), postfix src/tls/tls_certkey.c. */
export function loadIdentity(ctx: SslCtx, files: IdentityFiles): boolean {
	if (files.chain_files !== '') {
		return loadChain(ctx, filesOfChain(files), 'chain', files.chain_files);
	}

	return pairs.every(([label, certificate, key]) => loadPair(ctx, label, files[certificate], files[key]));
}

function loadPair(ctx: SslCtx, label: string, certificate: string, key: string): boolean {
	if (certificate === '') {
		return true;
	}

	if (certificate === key) {
		return loadChain(ctx, [certificate], 'mixed', certificate);
	}

	ERR_clear_error();
	const [certificateBlocks, keyBlocks] = [isBlockingFile(certificate), isBlockingFile(key)];
	if (certificateBlocks || SSL_CTX_use_certificate_chain_file(ctx, cText(certificate)) !== 1) {
		warning(`cannot get ${label} certificate from file "${certificate}": disabling TLS support`);
	} else if (keyBlocks || SSL_CTX_use_PrivateKey_file(ctx, cText(key), SSL_FILETYPE_PEM) !== 1) {
		warning(`cannot get ${label} private key from file "${key}": disabling TLS support`);
	} else if (SSL_CTX_check_private_key(ctx) !== 1) {
		ERR_clear_error();
		warning(
			`${label} private key in ${key} does not match public key in ${certificate}: disabling TLS support`,
		);
	} else {
		return true;
	}

	logFileProblem(certificateBlocks || keyBlocks, certificateBlocks ? certificate : key);
	return false;
}

/* Logs why a file was not opened, or the errors of OpenSSL. */
function logFileProblem(blocks: boolean, path: string): void {
	if (blocks) {
		warning(`${path}: ${NOT_REGULAR}`);
	}

	printErrors();
}

/* Key types of the traditional PEM labels; undefined stands for PKCS#8. Source: openssl/evp.h. */
const keyLabels: ReadonlyMap<string, number | undefined> = new Map([
	['PRIVATE KEY', undefined],
	['RSA PRIVATE KEY', EVP_PKEY_RSA],
	['EC PRIVATE KEY', 408],
	['DSA PRIVATE KEY', 116],
]);
const certificateLabels: ReadonlySet<string> = new Set(['CERTIFICATE', 'X509 CERTIFICATE']);

/* A chain that is being read: its key and its certificates, leaf first. Owns both. */
interface Chain {
	key: {readonly handle: EvpPkey; readonly index: number; readonly path: string} | undefined;
	readonly certificates: X509[];
}

/*
 * `chain`: the objects of all files are one sequence of chains, each of which begins
 * with its key. `mixed`: one file with one key, which may stand anywhere.
 */
type Mode = 'chain' | 'mixed';

function loadChain(ctx: SslCtx, paths: readonly string[], mode: Mode, origin: string): boolean {
	return withChain(chain => {
		for (const path of paths) {
			const blocks = isBlockingFile(path);
			const bio = blocks ? null : BIO_new_file(cText(path), 'r');
			if (bio === null) {
				warning(`error opening chain file: ${path}: ${blocks ? NOT_REGULAR : strerror(errno())}`);
				if (mode === 'mixed') {
					return false;
				}

				/*
				 * Not an error for Postfix: TLS goes on with the complete chains in front of this file.
				 * The last one is incomplete, so that often no certificate is left.
				 */
				return true;
			}

			if (!loadFile(ctx, bio, path, mode, chain)) {
				return failed(origin);
			}
		}

		return paths.length === 0 || finishChain(ctx, chain, origin) || failed(origin);
	});
}

/**
 * Loads an identity from PEM text in memory.
 *
 * @param origin - its name in log lines.
 * Source: tls_load_pem_chain(), postfix src/tls/tls_certkey.c.
 */
export function loadIdentityText(ctx: SslCtx, pem: Uint8Array, origin: string): boolean {
	return withChain(chain => {
		const bio = bioOf(pem);
		if (bio === null) {
			warning(`error opening memory BIO for ${origin}`);
			printErrors();
			return false;
		}

		return (
			(loadFile(ctx, bio, origin, 'chain', chain) && finishChain(ctx, chain, origin)) ||
			failed(origin, 'aborting TLS handshake')
		);
	});
}

/* Releases whatever the chain still owns at the end. */
function withChain(load: (chain: Chain) => boolean): boolean {
	ERR_clear_error();
	const chain: Chain = {key: undefined, certificates: []};
	try {
		return load(chain);
	} finally {
		releaseChain(chain);
		ERR_clear_error();
	}
}

function loadFile(ctx: SslCtx, bio: Bio, path: string, mode: Mode, chain: Chain): boolean {
	try {
		let index = 1;
		for (let object = readPem(bio); object !== undefined; object = readPem(bio), index++) {
			if (certificateLabels.has(object.label)) {
				if (!addCertificate(chain, object.der, index, path, mode)) {
					return false;
				}
			} else if (keyLabels.has(object.label)) {
				if (!addKey(ctx, chain, object, index, path, mode)) {
					return false;
				}
			} else if (mode === 'chain') {
				warning(`loading ${path}: ignoring PEM type: ${object.label}`);
			}
		}

		if (endOfPem()) {
			ERR_clear_error();
			return true;
		}

		printErrors();
		return false;
	} finally {
		BIO_free(bio);
	}
}

function addCertificate(chain: Chain, der: Uint8Array, index: number, path: string, mode: Mode): boolean {
	if (mode === 'chain' && chain.key === undefined) {
		warning(`error loading chain from ${path}: key not first`);
		return false;
	}

	const certificate = wholeObject(decodeCertificate(der), X509_free, 'certificate', index, path);
	if (certificate === undefined) {
		return false;
	}

	chain.certificates.push(certificate);
	return true;
}

function addKey(
	ctx: SslCtx,
	chain: Chain,
	object: PemObject,
	index: number,
	path: string,
	mode: Mode,
): boolean {
	if (chain.key !== undefined && mode === 'mixed') {
		warning(`ignoring 2nd key at index ${index} in ${path} after 1st at ${chain.key.index}`);
		return true;
	}

	if (chain.key !== undefined) {
		if (chain.certificates.length === 0) {
			const place = `index ${chain.key.index} in ${chain.key.path}`;
			warning(`error loading certificate chain: key at ${place} not followed by a certificate`);
			return false;
		}

		/* The next key: the chain in front of it is complete. */
		if (!useChain(ctx, chain, 'does not match the certificate', 'error loading certificate chain: ')) {
			return false;
		}

		releaseChain(chain);
	}

	const decoded = decodePrivateKey(object.der, keyLabels.get(object.label));
	const handle = wholeObject(decoded, EVP_PKEY_free, 'private key', index, path);
	if (handle === undefined) {
		return false;
	}

	chain.key = {handle, index, path};
	return true;
}

/* The decoded object, when no bytes follow it; otherwise undefined, and the reason has been logged. */
function wholeObject<P extends bigint>(
	decoded: Decoded<P> | undefined,
	free: (object: P) => void,
	label: string,
	index: number,
	path: string,
): P | undefined {
	if (decoded?.excess === 0) {
		return decoded.object;
	}

	const place = `error loading ${label} (PEM object number ${index}) from ${path}`;
	if (decoded === undefined) {
		warning(place);
		printErrors();
	} else {
		warning(`${place}: excess data`);
		free(decoded.object);
	}

	return undefined;
}

function finishChain(ctx: SslCtx, chain: Chain, origin: string): boolean {
	if (chain.key === undefined) {
		warning(
			chain.certificates.length === 0 ? `No PEM data in ${origin}` : `No private key found in ${origin}`,
		);
		return false;
	}

	if (chain.certificates.length === 0) {
		warning(`No certs for key at index ${chain.key.index} in ${chain.key.path}`);
		return false;
	}

	return useChain(ctx, chain, 'does not match next certificate');
}

/* The SSL_CTX takes references. A chain never replaces an earlier one of the same key type (override is 0). */
function useChain(ctx: SslCtx, {key, certificates}: Chain, problem: string, prefix = ''): boolean {
	const [leaf, ...issuers] = certificates;
	if (key === undefined || leaf === undefined) {
		throw new Panic('incomplete certificate chain');
	}

	const stack = nonNull(OPENSSL_sk_new_null(), 'OPENSSL_sk_new_null');
	for (const issuer of issuers) {
		OPENSSL_sk_push(stack, issuer);
	}

	const used = SSL_CTX_use_cert_and_key(ctx, leaf, key.handle, stack, 0) === 1;
	OPENSSL_sk_free(stack);
	if (!used) {
		warning(`${prefix}key at index ${key.index} in ${key.path} ${problem}`);
		printErrors();
	}

	return used;
}

function releaseChain(chain: Chain): void {
	for (const certificate of chain.certificates.splice(0)) {
		X509_free(certificate);
	}

	if (chain.key !== undefined) {
		EVP_PKEY_free(chain.key.handle);
		chain.key = undefined;
	}
}

function failed(origin: string, consequence = 'disabling TLS support'): false {
	warning(`error loading private keys and certificates from: ${origin}: ${consequence}`);
	return false;
}
