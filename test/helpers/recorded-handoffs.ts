/* Recordings of the bytes that Postfix clients send to tlsproxy(8) before they wait for the status. */
import {readdirSync, readFileSync} from 'node:fs';
import {type ReleaseFeatures, releaseFeatures} from '../../src/conf/release.ts';

/** A recorded hand-off. */
export interface RecordedHandoff {
	/** Release and name of the recording. */
	readonly title: string;
	readonly features: ReleaseFeatures;
	readonly role: 'client' | 'server';
	/** The request, and in the client role the settings. */
	readonly bytes: Uint8Array;
	/** Number of bytes of the request alone. */
	readonly requestSize: number;
}

interface Manifest {
	readonly sessions: ReadonlyArray<{
		readonly name: string;
		readonly role: 'client' | 'server';
		readonly to_proxy: {
			readonly file: string;
			readonly request: readonly [start: number, end: number];
			readonly settings?: readonly [start: number, end: number] | null;
		};
	}>;
}

const root = new URL('../fixtures/vectors/', import.meta.url);

/** All recordings of all releases. */
export function recordedHandoffs(): readonly RecordedHandoff[] {
	return readdirSync(root).flatMap(directory => {
		const folder = new URL(`${directory}/`, root);
		const release = directory.replace('postfix-', '');
		const {sessions} = JSON.parse(readFileSync(new URL('manifest.json', folder), 'utf8')) as Manifest;
		return sessions.map(({name, role, to_proxy: {file, request, settings}}) => ({
			title: `${release} ${name}`,
			features: releaseFeatures(release),
			role,
			bytes: readFileSync(new URL(file, folder)).subarray(request[0], (settings ?? request)[1]),
			requestSize: request[1] - request[0],
		}));
	});
}
