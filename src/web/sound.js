// The sound of a mention: two short tones.

const TONES = [660, 880];
const TONE_S = 0.12;

let context = null;

/** Plays the sound, if the browser has and allows sounds. */
export function playSound() {
	if (!globalThis.AudioContext) return;
	context ??= new AudioContext();
	context.resume();
	for (const [i, pitch] of TONES.entries()) {
		const tone = context.createOscillator();
		const volume = context.createGain();
		const at = context.currentTime + i * TONE_S;
		tone.frequency.value = pitch;
		volume.gain.setValueAtTime(0.15, at);
		volume.gain.exponentialRampToValueAtTime(0.001, at + TONE_S);
		tone.connect(volume).connect(context.destination);
		tone.start(at);
		tone.stop(at + TONE_S);
	}
}
