/*++
/* NAME
/*	interruption 3
/* SUMMARY
/*	remove everything when a command is interrupted
/* DESCRIPTION
/*	The first SIGINT, SIGTERM or SIGHUP removes everything that the
/*	command has started, and ends the process. Further signals are
/*	ignored until that is done: otherwise a user who presses ^C twice
/*	would leave daemons running.
/*--*/

import {errorText} from '../../src/base/text.ts';

const STATUS = {SIGHUP: 129, SIGINT: 130, SIGTERM: 143} as const;

/**
 * Installs the signal handlers. Call this once per process.
 *
 * @param program - name of the command, for messages.
 * @param remove - removes everything that exists, and everything that is still being created. Called at most once.
 * @returns a function to call when the command fails. After a signal it waits for the end of the process, because
 * the removal has caused the failure. Without a signal it returns immediately.
 */
export function removeOnSignal(program: string, remove: () => Promise<void>): () => Promise<void> {
	let removal: Promise<void> | undefined;
	const end = async (status: number): Promise<void> => {
		console.error(`\n${program}: interrupted, removing everything`);
		try {
			await remove();
			process.exit(status);
		} catch (reason) {
			console.error(`${program}: fatal: ${errorText(reason)}`);
			process.exit(1);
		}
	};
	for (const [name, status] of Object.entries(STATUS)) {
		process.on(name, () => {
			removal ??= end(status);
		});
	}

	return async () => {
		await removal;
	};
}
