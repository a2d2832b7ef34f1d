/*
 * Hands off connections as fast as they are taken, until it is killed.
 */
import {HandOff, type Target} from './driver.ts';

process.on('message', ({target, atOnce}: {readonly target: Target; readonly atOnce: number}) => {
	const begin = (): void => {
		HandOff.begin(
			target,
			handOff => {
				handOff.close();
				begin();
			},
			/* A master(8) that stops is the end of the storm, too. */
			() => setTimeout(begin, 10),
		);
	};
	for (let index = 0; index < atOnce; index++) {
		begin();
	}
});
process.on('disconnect', () => process.exit(0));
