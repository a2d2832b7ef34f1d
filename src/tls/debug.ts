/*++
/* NAME
/*	debug 3
/* SUMMARY
/*	progress of a handshake in the log
/* DESCRIPTION
/*	At log level 2 and above OpenSSL tells of each step and alert.
/* SEE ALSO
/*	postfix src/tls/tls_misc.c, tls_info_callback()
/*--*/

import {
	type Callback,
	registerInfoCallback,
	SSL_alert_desc_string_long,
	SSL_alert_type_string_long,
	SSL_CB_ALERT,
	SSL_CB_EXIT,
	SSL_CB_LOOP,
	SSL_CB_READ,
	SSL_ST_ACCEPT,
	SSL_ST_CONNECT,
	SSL_state_string_long,
	SSL3_AD_CLOSE_NOTIFY,
	type Ssl,
} from '../ffi/libssl.ts';
import {info} from '../log.ts';

/** For SSL_CTX_set_info_callback(). Registered for the life of the process. */
export const infoCallback: Callback = registerInfoCallback(logState);

/*
 * XXX The C program asks SSL_get_error() whether a negative result at the exit
 * of a step is just a wait. Inside of the callback that answer is not reliable;
 * a wait is by far the most common case and is not worth a line.
 */
function logState(ssl: Ssl, where: number, result: number): void {
	const who =
		(where & SSL_ST_CONNECT) !== 0 ? 'SSL_connect' : (where & SSL_ST_ACCEPT) !== 0 ? 'SSL_accept' : 'unknown';
	if ((where & SSL_CB_LOOP) !== 0) {
		info(`${who}:${SSL_state_string_long(ssl)}`);
	} else if ((where & SSL_CB_ALERT) !== 0) {
		if ((result & 0xff) !== SSL3_AD_CLOSE_NOTIFY) {
			const way = (where & SSL_CB_READ) !== 0 ? 'read' : 'write';
			const kind = SSL_alert_type_string_long(result);
			info(`SSL3 alert ${way}:${kind}:${SSL_alert_desc_string_long(result)}`);
		}
	} else if ((where & SSL_CB_EXIT) !== 0 && result === 0) {
		info(`${who}:failed in ${SSL_state_string_long(ssl)}`);
	}
}
