/*++
/* NAME
/*	jail 3
/* SUMMARY
/*	chroot and privilege drop
/* DESCRIPTION
/*	After this nothing can be opened that mail_owner may not open,
/*	and with chroot nothing outside of the queue directory. Whatever
/*	is needed later has to be open, loaded and exercised by then.
/*
/*	initgroups(3) and not just setgroups(2): administrators give the
/*	mail owner further groups on purpose.
/*
/*	The account itself has to be in /etc/passwd: no other name service
/*	is asked.
/* DIAGNOSTICS
/*	ConfigurationError: a step was refused. The process must not go on.
/* SEE ALSO
/*	postfix src/util/chroot_uid.c
/*--*/

import {readFileSync} from 'node:fs';
import {ConfigurationError} from '../base/errors.ts';
import {chroot, errno, PR_SET_NO_NEW_PRIVS, prctl, strerror} from '../ffi/libc/libc.ts';

/** An account, as far as the jail needs it. */
export interface Account {
	readonly name: string;
	readonly uid: number;
	readonly gid: number;
}

/**
 * Looks up the account that the process is to run as.
 *
 * @throws {ConfigurationError} when it is unknown or privileged.
 */
export function mailOwner(name: string): Account {
	const line = readFileSync('/etc/passwd', 'utf8')
		.split('\n')
		.map(text => text.split(':'))
		.find(fields => fields[0] === name);
	const uid = Number(line?.[2]);
	const gid = Number(line?.[3]);
	if (line === undefined || !Number.isInteger(uid) || !Number.isInteger(gid)) {
		throw new ConfigurationError(`unknown user: ${name}`);
	}

	if (uid === 0 || gid === 0) {
		throw new ConfigurationError(`parameter mail_owner: user ${name} has privileged user or group ID`);
	}

	return {name, uid, gid};
}

/**
 * Enters the jail.
 *
 * @param root - the new root directory, or undefined to stay.
 * @param account - whom to become, or undefined to stay root.
 * Source: chroot_uid(), postfix src/util/chroot_uid.c.
 */
export function enterJail(root: string | undefined, account: Account | undefined): void {
	if (account !== undefined) {
		step(`setgid(${account.gid})`, () => process.setgid?.(account.gid));
		step('initgroups', () => initgroups(account));
	}

	if (root !== undefined) {
		if (chroot(root) !== 0) {
			throw new ConfigurationError(`chroot(${root}): ${strerror(errno())}`);
		}

		process.chdir('/');
	}

	if (account !== undefined) {
		step(`setuid(${account.uid})`, () => process.setuid?.(account.uid));
	}

	if (prctl(PR_SET_NO_NEW_PRIVS, 1n, 0n, 0n, 0n) !== 0) {
		throw new ConfigurationError(`prctl(PR_SET_NO_NEW_PRIVS): ${strerror(errno())}`);
	}
}

/* The declarations of @types/node lack this function. */
function initgroups({name, gid}: Account): void {
	(process as NodeJS.Process & {initgroups(user: string, group: number): void}).initgroups(name, gid);
}

function step(name: string, run: () => void): void {
	try {
		run();
	} catch (reason) {
		throw new ConfigurationError(`${name}: ${reason instanceof Error ? reason.message : String(reason)}`, {
			cause: reason,
		});
	}
}
