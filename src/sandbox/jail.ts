/*++
/* NAME
/*	jail 3
/* SUMMARY
/*	enter the chroot jail and drop privileges
/* DESCRIPTION
/*	Afterwards the process can open files with the rights of
/*	mail_owner only, and with chroot only files in the queue directory.
/*	Everything else that it needs must be open or loaded before.
/*
/*	The groups of the account are set with initgroups(3), not only with
/*	setgroups(2): administrators add the mail owner to groups that can
/*	read keys or sockets.
/*
/*	The account must be in /etc/passwd. Other name services are not
/*	used.
/* DIAGNOSTICS
/*	ConfigurationError: a step failed. The process must end.
/* SEE ALSO
/*	postfix src/util/chroot_uid.c
/*--*/

import {readFileSync} from 'node:fs';
import {ConfigurationError} from '../base/errors.ts';
import {errorText} from '../base/text.ts';
import {chroot, errno, PR_SET_NO_NEW_PRIVS, prctl, strerror} from '../ffi/libc/libc.ts';

/** A user account. */
export interface Account {
	readonly name: string;
	readonly uid: number;
	readonly gid: number;
}

/**
 * Looks up the account with which the process will run.
 *
 * @throws {ConfigurationError} if it is unknown or privileged.
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
 * @param root - the new root directory; undefined to skip chroot(2).
 * @param account - the account to change to; undefined to keep running as root.
 * @throws {ConfigurationError} if a step fails. The steps before it have taken effect.
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

/* @types/node does not declare this function. */
function initgroups({name, gid}: Account): void {
	(process as NodeJS.Process & {initgroups(user: string, group: number): void}).initgroups(name, gid);
}

function step(name: string, run: () => void): void {
	try {
		run();
	} catch (reason) {
		throw new ConfigurationError(`${name}: ${errorText(reason)}`, {cause: reason});
	}
}
