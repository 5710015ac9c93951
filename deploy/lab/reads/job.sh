message="approved job, $settings"
