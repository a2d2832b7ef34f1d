/*++
/* NAME
/*	handshake-input 3
/* SUMMARY
/*	what a peer has sent during its handshake, a little at a time
/* DESCRIPTION
/*	OpenSSL reads the descriptor of a peer itself, and in a handshake
/*	it does not come back before it needs something that is not there.
/*	There are messages that it skips, and a server that sends nothing
/*	else keeps the whole process with one call for as long as it can
/*	send them faster than they are skipped, which is not fast.
/*
/*	So as long as the handshake lasts, OpenSSL reads from memory, and
/*	for each step gets what a peer that means it needs for a step.
/*	Behind the handshake it reads the descriptor, as soon as it has
/*	read what was in memory.
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
	BIO_set_mem_eof_return,
	BIO_up_ref,
	BIO_write,
	SSL_get_fd,
	SSL_get_wbio,
	SSL_set0_rbio,
} from '../../ffi/openssl/bio.ts';
import {SSL_get_rbio, type Ssl} from '../../ffi/openssl/libssl.ts';
import {BIO_set_callback_ex, type Bio} from '../../ffi/openssl/pem.ts';

/** Bytes for one step: the largest record. Few flights of a handshake are larger. */
const STEP_SIZE = 16_384 + 5;

/* Bytes do not stay here. */
const block: {readonly address: Address} = allocate(STEP_SIZE);

/** Where an SSL reads from, up to the end of its handshake. */
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
	 * Takes the place of the descriptor that an SSL reads from.
	 *
	 * @param ssl - has its descriptor already; borrowed, it owns what is made here.
	 * @returns undefined when there is no memory: then all is as it was.
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

	/** Takes what the peer has sent, as much as is due for one step. Returns whether there was any, or the end. */
	fill(): boolean {
		const size = read(this.#fd, block.address, STEP_SIZE);
		if (size > 0) {
			BIO_write(this.#memory, block.address, size);
			return true;
		}

		if (size < 0 && wouldBlock()) {
			return false;
		}

		/* A reset is an end like others: OpenSSL finds it behind the last byte. */
		BIO_set_mem_eof_return(this.#memory, 0);
		return true;
	}

	/** Whether OpenSSL has still to read some of it. */
	get pending(): boolean {
		return BIO_pending(this.#memory) > 0;
	}

	/** From now on OpenSSL reads the descriptor. */
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
