/*++
/* NAME
/*	handshake-input 3
/* SUMMARY
/*	limits how many bytes OpenSSL reads per step of a handshake
/* DESCRIPTION
/*	In a handshake OpenSSL reads the descriptor of the peer until it
/*	needs bytes that have not arrived. It skips some kinds of messages.
/*	A server that sends only such messages would block the process in
/*	one call for as long as it sends them faster than OpenSSL skips
/*	them, and OpenSSL skips them slowly.
/*
/*	So during the handshake OpenSSL reads from memory, which gets as
/*	many bytes per step as a regular handshake needs. After the
/*	handshake it reads the descriptor again, as soon as it has read all
/*	bytes in memory.
/* SEE ALSO
/*	stream(3), bio_s_mem(3ssl)
/*--*/

import type {Fd} from '../../base/units.ts';
import {type Address, allocate, EAGAIN, EINTR, errno, read} from '../../ffi/libc/libc.ts';
import {
	BIO_get_callback_ex,
	BIO_new,
	BIO_pending,
	BIO_s_mem,
	BIO_set_callback_ex,
	BIO_set_mem_eof_return,
	BIO_up_ref,
	BIO_write,
	type Bio,
} from '../../ffi/openssl/bio.ts';
import {SSL_get_fd, SSL_get_rbio, SSL_get_wbio, SSL_set0_rbio, type Ssl} from '../../ffi/openssl/ssl.ts';

/** Bytes per step: the largest record. Few flights of a handshake are larger. */
const STEP_SIZE = 16_384 + 5;

/* Shared by all connections: fill() copies its bytes to the BIO. */
const block: {readonly address: Address} = allocate(STEP_SIZE);

/** The memory BIO that an SSL reads from during its handshake. */
export class HandshakeInput {
	readonly #ssl: Ssl;
	readonly #fd: Fd;
	readonly #memory: Bio;

	private constructor(ssl: Ssl, fd: Fd, memory: Bio) {
		this.#ssl = ssl;
		this.#fd = fd;
		this.#memory = memory;
	}

	/**
	 * Makes an SSL read from memory instead of its descriptor.
	 *
	 * @param ssl - has its descriptor; borrowed. It owns the new BIO.
	 * @returns undefined if there is no memory: then the SSL is unchanged.
	 */
	static open(ssl: Ssl): HandshakeInput | undefined {
		const socket = SSL_get_rbio(ssl);
		const memory = socket === null ? null : BIO_new(BIO_s_mem());
		if (socket === null || memory === null) {
			return undefined;
		}

		BIO_set_mem_eof_return(memory, -1);
		const callback = BIO_get_callback_ex(socket);
		if (callback !== null) {
			BIO_set_callback_ex(memory, callback);
		}

		const fd = SSL_get_fd(ssl);
		SSL_set0_rbio(ssl, memory);
		return new HandshakeInput(ssl, fd, memory);
	}

	/** Reads the bytes for one step from the descriptor. Returns whether there were bytes or the end of the stream. */
	fill(): boolean {
		const size = read(this.#fd, block.address, STEP_SIZE);
		if (size > 0) {
			BIO_write(this.#memory, block.address, size);
			return true;
		}

		if (size < 0 && wouldBlock()) {
			return false;
		}

		/* A reset is handled like the end of the stream: OpenSSL finds it after the last byte. */
		BIO_set_mem_eof_return(this.#memory, 0);
		return true;
	}

	/** Whether there are bytes that OpenSSL has not read yet. */
	get pending(): boolean {
		return BIO_pending(this.#memory) > 0;
	}

	/** Makes the SSL read its descriptor again. It releases the BIO. */
	close(): void {
		const socket = SSL_get_wbio(this.#ssl);
		if (socket !== null) {
			BIO_up_ref(socket);
			SSL_set0_rbio(this.#ssl, socket);
		}
	}
}

function wouldBlock(): boolean {
	const code = errno();
	return code === EAGAIN || code === EINTR;
}
