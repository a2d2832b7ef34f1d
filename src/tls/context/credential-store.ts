/*++
/* NAME
/*	credential-store 3
/* SUMMARY
/*	identities and authorities that were loaded as root
/* DESCRIPTION
/*	In the jail a process cannot read the private keys of its clients
/*	and, usually, the certificates that they trust. Therefore the files
/*	that any client is configured with are loaded before. Each set of
/*	files is loaded once, into an SSL_CTX that is not used for
/*	connections. A request that names the same files gets the loaded
/*	data; its other settings make no difference. Names are compared
/*	as Postfix uses them: chain_files is a list, every other setting
/*	is the name of one file.
/*
/*	A set that could not be loaded does not affect other sets. As with
/*	stock, each request for it opens the files again, without root
/*	privileges.
/* SEE ALSO
/*	certificates(3), ssl-context(3)
/*--*/

import {Owned} from '../../base/owned.ts';
import {
	copyCertStore,
	copyIdentity,
	hasIdentity,
	SSL_CTX_free,
	SSL_CTX_new,
	SSL_CTX_set_security_level,
	type SslCtx,
	TLS_client_method,
} from '../../ffi/openssl/ssl-ctx.ts';
import {warning} from '../../log/log.ts';
import {printErrors} from '../library.ts';
import {loadAuthorities, loadIdentity} from './certificates.ts';
import {
	type AuthorityFiles,
	authorityKey,
	authoritySettings,
	type IdentityFiles,
	identityKey,
	identitySettings,
	namedFiles,
} from './named-files.ts';

/** The files that a client's settings name. */
export interface CredentialFileNames extends IdentityFiles, AuthorityFiles {}

interface Entry {
	/** The SSL_CTX with the loaded files; undefined if they cannot be used. */
	readonly ctx: Owned<SslCtx> | undefined;
	/** Whether loading succeeded by the rules of Postfix, which accepts chain files that cannot be opened. */
	readonly succeeded: boolean;
}

/** The identities and authorities that were loaded before the jail. Disposal releases them. */
export class CredentialStore implements Disposable {
	readonly #identities = new Map<string, Entry>();
	readonly #authorities = new Map<string, Entry>();

	/**
	 * Loads the files of a client, unless they are already loaded.
	 *
	 * @param appendDefault - tls_append_default_CA.
	 * @returns false if a file could not be loaded; the reason has been logged.
	 */
	load(files: CredentialFileNames, appendDefault: boolean): boolean {
		const named = namedFiles(files).length > 0;
		const identity = findOrCreate(
			this.#identities,
			identityKey(files),
			ctx => loadIdentity(ctx, files),
			ctx => !named || hasIdentity(ctx),
		);
		const authorities = findOrCreate(this.#authorities, authorityKey(files, appendDefault), ctx =>
			loadAuthorities(ctx, files.CAfile, files.CApath, appendDefault),
		);
		return identity.succeeded && authorities.succeeded;
	}

	/** Whether load() was called for all files that a client names, with or without success. */
	has(files: CredentialFileNames, appendDefault: boolean): boolean {
		return (
			(namedFiles(files).length === 0 || this.#identities.has(identityKey(files))) &&
			((files.CAfile === '' && files.CApath === '') ||
				this.#authorities.has(authorityKey(files, appendDefault)))
		);
	}

	/**
	 * The settings of a client whose files could not be used when they were loaded, for the log; undefined if
	 * all files were usable. Chain files that cannot be opened are included, although they are not an error
	 * for Postfix: it serves such a client without a certificate.
	 *
	 * @param prefix - of the parameter names, such as `smtp_tls_`.
	 */
	problemWith(files: CredentialFileNames, appendDefault: boolean, prefix: string): string | undefined {
		const problems: string[] = [];
		if (namedFiles(files).length > 0 && this.#identities.get(identityKey(files))?.ctx === undefined) {
			problems.push(...identitySettings(files, prefix));
		}

		const named = files.CAfile !== '' || files.CApath !== '';
		if (named && this.#authorities.get(authorityKey(files, appendDefault))?.ctx === undefined) {
			problems.push(...authoritySettings(files, prefix));
		}

		return problems.length === 0 ? undefined : problems.join('; ');
	}

	/**
	 * Adds the identity that settings name to an SSL_CTX. Reads the files if they are not loaded.
	 *
	 * @returns false on failure; the reason has been logged.
	 */
	applyIdentity(ctx: SslCtx, files: IdentityFiles): boolean {
		const loaded = this.#identities.get(identityKey(files))?.ctx;
		if (loaded === undefined) {
			return loadIdentity(ctx, files);
		}

		if (!copyIdentity(loaded.value, ctx)) {
			warning(`cannot copy the certificate chain of ${namedFiles(files).join(', ')}: disabling TLS support`);
			printErrors();
			return false;
		}

		return true;
	}

	/** Adds the trusted certificates that settings name to an SSL_CTX. See {@link applyIdentity}. */
	applyAuthorities(ctx: SslCtx, files: CredentialFileNames, appendDefault: boolean): boolean {
		const loaded = this.#authorities.get(authorityKey(files, appendDefault))?.ctx;
		if (loaded === undefined) {
			return loadAuthorities(ctx, files.CAfile, files.CApath, appendDefault);
		}

		copyCertStore(loaded.value, ctx);
		return true;
	}

	[Symbol.dispose](): void {
		for (const entries of [this.#identities, this.#authorities]) {
			for (const entry of entries.values()) {
				entry.ctx?.[Symbol.dispose]();
			}

			entries.clear();
		}
	}
}

function findOrCreate(
	entries: Map<string, Entry>,
	key: string,
	load: (ctx: SslCtx) => boolean,
	isUsable: (ctx: SslCtx) => boolean = () => true,
): Entry {
	const entry = entries.get(key) ?? createEntry(load, isUsable);
	entries.set(key, entry);
	return entry;
}

function createEntry(load: (ctx: SslCtx) => boolean, isUsable: (ctx: SslCtx) => boolean): Entry {
	const created = SSL_CTX_new(TLS_client_method());
	if (created === null) {
		warning('cannot allocate client SSL_CTX: disabling TLS support');
		printErrors();
		return {ctx: undefined, succeeded: false};
	}

	using ctx = new Owned(created, SSL_CTX_free);
	/* Load keys of every strength. The SSL_CTX of a connection has its configured security level. */
	SSL_CTX_set_security_level(created, 0);
	const succeeded = load(created);
	return {ctx: succeeded && isUsable(created) ? ctx.move() : undefined, succeeded};
}
