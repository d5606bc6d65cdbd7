import adapter from '@sveltejs/adapter-cloudflare';
import { sveltekit } from '@sveltejs/kit/vite';
import { inngestDev } from 'sveltekit-inngest/vite';
import { defineConfig } from 'vite';

export default defineConfig({ plugins: [inngestDev(), sveltekit({ adapter: adapter() })] });
